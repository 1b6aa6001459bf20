"""What the tests of the cluster share. They run inside the sandbox (`make test-cluster`), or against the cluster of KUBECONFIG.

Two floors, as markers: `api` needs an API server and its controllers; `node` needs two real nodes. `sandbox` is for what can be
done to our own sandbox only; such tests are skipped elsewhere. Those in outside/ start clusters of their own.
"""

import os
from collections.abc import Iterator, Mapping

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import launched
from tests.cluster.api import Api
from tests.cluster.archives import archives, names
from tests.cluster.cluster import EXTERNAL, VARIABLE, Cluster, connected, unique
from tests.cluster.node import Machine
from tests.cluster.release import Release

_FAKES = 50


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the cluster that we are given cannot do is skipped, and says why."""
    ours = [item for item in items if "tests/cluster/" in item.path.as_posix() and "outside" not in item.path.parts]
    if ours and VARIABLE not in os.environ:
        raise pytest.UsageError(f"make test-cluster runs these; or set {VARIABLE}={EXTERNAL} and KUBECONFIG")
    if os.environ.get(VARIABLE) == EXTERNAL:
        for item in ours:
            if item.get_closest_marker("sandbox"):
                item.add_marker(pytest.mark.skip(reason="only our own sandbox can do this, not another's cluster"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with connected() as found:
        yield found


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    return cluster.api


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own that enforces Pod Security `restricted`; it is gone afterwards."""
    with cluster.namespace(unique(request.node.name)) as name:
        yield name


@pytest.fixture(scope="session")
def nodes(cluster: Cluster) -> list[str]:
    """The names of two real nodes that take pods."""
    found = cluster.nodes
    if len(found) < 2:
        pytest.skip(f"needs two nodes, and there are {len(found)}")
    return found[:2]


@pytest.fixture(scope="session")
def machines(cluster: Cluster, nodes: list[str]) -> list[Machine]:
    """The machines of the sandbox, in the order of `nodes`; for tests that are marked `sandbox`."""
    return [machine for machine in cluster.machines if machine.node.name in nodes]


@pytest.fixture(scope="session")
def probe(cluster: Cluster, nodes: list[str]) -> str:
    """The image of the program that tells what a pod sees, on both nodes."""
    return cluster.probe_image()


@pytest.fixture(scope="session")
def images(cluster: Cluster, nodes: list[str]) -> Mapping[str, str]:
    """The names of images that are on both nodes: Tideboard's as `test-a` and as `test-b`, `kafka`, and `valkey`."""
    if cluster.plan:
        cluster.load(archives())  # made by suite.py before, since here is no way to what they are made from
    return names()


@pytest.fixture
def release(cluster: Cluster, namespace: str, images: Mapping[str, str]) -> Release:
    """An installation of the chart that is still to be made, in a namespace of the test's own."""
    return Release(cluster, namespace)


@pytest.fixture(scope="session")
def fake_nodes(cluster: Cluster) -> int:
    """How many fake nodes there are; for tests that are marked `sandbox`."""
    cluster.add_fake_nodes(_FAKES)
    return _FAKES


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which sees services and pods by their names and addresses, since it runs where they are.

    Not for longer than a module: Playwright has a loop running in this thread meanwhile, beside which no other can run.
    """
    with launched() as found:
        yield found
