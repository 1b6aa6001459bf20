"""The cluster as tests see it: its API, its namespaces, images, fake nodes, and, where it is our sandbox, its machines.

Tests that need no more than its API run against any cluster that KUBECONFIG names; what only a sandbox can do is refused there, and
conftest.py skips the tests that want it. docs/test-cluster.md says which are left.
"""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from tests.cluster import api as apis
from tests.cluster import controlplane, images, objects
from tests.cluster import plan as plans
from tests.cluster.api import Api, Object, until
from tests.cluster.daemons import DaemonError, Daemons
from tests.cluster.node import Machine, load, machines
from tests.cluster.plan import Plan
from tools import clients

EXTERNAL: Final = "external"
VARIABLE: Final = "TIDEBOARD_TEST_CLUSTER"
RESTRICTED: Final = "restricted"
_PATIENCE_S: Final = 180


class Cluster:
    """plan: of the sandbox that we are in; None for a cluster of somebody else."""

    def __init__(self, api: Api, plan: Plan | None = None) -> None:
        self.api = api
        self.plan = plan
        self._daemons = Daemons(plan) if plan else None

    @property
    def machines(self) -> list[Machine]:
        """The real nodes of the sandbox."""
        plan, daemons = self._own()
        return machines(plan, daemons)

    @property
    def nodes(self) -> list[str]:
        """The names of the real nodes that are Ready and take pods."""
        found = [each for each in self.api.items("/api/v1/nodes") if not _fake(each) and not each["spec"].get("unschedulable")]
        return sorted(each["metadata"]["name"] for each in found if condition(each, "Ready") == "True")

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl says; AssertionError with its complaint when it fails."""
        return self.client("kubectl", *words, stdin=stdin)

    def client(self, name: str, *words: str, stdin: str | None = None) -> str:
        """What one of the clients of tools.clients says: kubectl, helm3, helm4."""
        done = self.tried(name, *words, stdin=stdin)
        assert done.returncode == 0, f"{name} {' '.join(words)}: {done.stderr}{done.stdout}"
        return done.stdout

    def tried(self, name: str, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """As `client`, where failing is allowed."""
        command = [str(clients.client(name)), *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=_PATIENCE_S * 5)

    @contextlib.contextmanager
    def namespace(self, name: str, level: str = RESTRICTED) -> Iterator[str]:
        """A namespace for a while. level: of Pod Security, which it enforces. Its end is begun and not waited for."""
        self.free_volumes()
        label = {"pod-security.kubernetes.io/enforce": level}
        self.api.post(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}}
        )
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        until(f"the service account of {name}", lambda: self.api.get(account))
        try:
            yield name
        finally:
            self.api.delete(f"/api/v1/namespaces/{name}")
            self.api.delete(f"/api/v1/namespaces/{name}/pods", gracePeriodSeconds=1)  # they need not drain for nobody

    def load(self, archives: Sequence[Path]) -> None:
        """Give images to every node. In another's cluster they have been given before: there it does nothing."""
        if self.plan:
            load(self.machines, archives)

    def probe_image(self) -> str:
        """The image of the small program that tells what a pod sees."""
        if self.plan:
            self.load(images.small(self.plan.programs, self.plan.home / "images", [images.PROBE]))
        return images.PROBE

    def add_fake_nodes(self, count: int) -> None:
        """Nodes on paper, and who plays them. They stay."""
        plan, daemons = self._own()
        controlplane.start_fakes(plan, daemons)
        for each in objects.fake_nodes(count):
            with contextlib.suppress(apis.ConflictError):
                self.api.post("/api/v1/nodes", each)
        until("the fake nodes to be Ready", lambda: self._fakes_ready(count))

    def free_volumes(self) -> None:
        """Empty the volumes whose claims are gone, and offer them again; in another's cluster its provisioner does it."""
        if self.plan is None:
            return
        for each in self.api.items("/api/v1/persistentvolumes"):
            if each["status"]["phase"] == "Released":
                path = Path(each["spec"]["local"]["path"])
                shutil.rmtree(path)
                path.mkdir()
                self._delete(f"/api/v1/persistentvolumes/{each['metadata']['name']}")
        self.api.apply(objects.volumes(self.plan))

    def wait_for(
        self, namespace: str, selector: str, count: int, phase: str = "Ready", within_s: float = _PATIENCE_S
    ) -> list[Object]:
        """Until so many pods, and no more, are Ready or in another phase; them."""

        def found() -> tuple[list[Object]] | None:
            pods = self.pods(namespace, selector)
            fit = [pod for pod in pods if _is(pod, phase)]
            return (fit,) if len(pods) == len(fit) == count else None

        try:
            return until(f"{count} pods {selector} in {namespace} to be {phase}", found, within_s)[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.described(namespace)}") from None

    def pods(self, namespace: str, selector: str = "") -> list[Object]:
        query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
        return self.api.items(f"/api/v1/namespaces/{namespace}/pods{query}")

    def log(self, namespace: str, pod: str, **options: Any) -> str:
        query = f"?{urlencode(options)}" if options else ""
        return self.api.text(f"/api/v1/namespaces/{namespace}/pods/{pod}/log{query}")

    def ask(self, namespace: str, pod: str, path: str, port: int = 8080) -> str:
        """What a pod answers, through the API server: it needs no way to the pod, and a NetworkPolicy is not asked."""
        return self.api.text(f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}")

    def evict(self, namespace: str, pod: str) -> bool:
        """Ask for its eviction as a drain does; ApiError 429 where a budget forbids it."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        self.api.post(f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body)
        return True

    @contextlib.contextmanager
    def following(self, namespace: str, pod: str) -> Iterator[Callable[[], str]]:
        """Follow a pod's log; what is given waits for its end and tells all of it."""
        command = [str(clients.client("kubectl")), "logs", "--follow", "-n", namespace, pod]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield lambda: process.communicate(timeout=_PATIENCE_S)[0]
        finally:
            process.kill()
            process.communicate()

    def described(self, namespace: str) -> str:
        """For a failure: the pods and the last events, as a person would look at them."""
        pods = self.tried("kubectl", "get", "pods", "-n", namespace, "-o", "wide").stdout
        events = self.tried("kubectl", "get", "events", "-n", namespace, "--sort-by=.lastTimestamp").stdout
        return f"{pods}\n" + "\n".join(events.splitlines()[-15:])

    def _own(self) -> tuple[Plan, Daemons]:
        if self.plan is None or self._daemons is None:
            raise DaemonError("this is not our cluster")
        return self.plan, self._daemons

    def _delete(self, path: str) -> None:
        self.api.delete(path)
        until(f"{path} to be gone", lambda: self._gone(path), _PATIENCE_S)

    def _gone(self, path: str) -> bool:
        try:
            self.api.get(path)
        except apis.NotFoundError:
            return True
        return False

    def _fakes_ready(self, count: int) -> bool:
        found = [each for each in self.api.items("/api/v1/nodes") if _fake(each)]
        return sum(condition(each, "Ready") == "True" for each in found) >= count


@contextlib.contextmanager
def connected() -> Iterator[Cluster]:
    """The cluster that the environment names."""
    told = os.environ[VARIABLE]
    if told == EXTERNAL:
        with _through_kubectl() as api:
            yield Cluster(api)
    else:
        plan = plans.read((Path(told) / "plan.json").read_text())
        api = apis.of_kubeconfig(plan.kubeconfig)
        yield Cluster(api, plan)
        api.close()


@contextlib.contextmanager
def _through_kubectl() -> Iterator[Api]:
    """However KUBECONFIG's cluster wants to be spoken to, kubectl knows it."""
    with listening("proxy", "--port=0") as address:
        api = Api(address)
        yield api
        api.close()


@contextlib.contextmanager
def listening(*words: str) -> Iterator[str]:
    """A kubectl that listens on a free port of this machine while the block lasts; its address."""
    process = subprocess.Popen([str(clients.client("kubectl")), *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        said = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", said)
        assert found, f"kubectl {words[0]} did not say where it listens: {said}"
        yield f"http://{found[0]}"
    finally:
        process.terminate()
        process.communicate()


def condition(each: Object, kind: str) -> str:
    """The status of a condition: True, False, Unknown, or nothing."""
    return next((str(told["status"]) for told in each.get("status", {}).get("conditions", []) if told["type"] == kind), "")


def ready_after(pod: Object) -> float:
    """How long a pod's container ran until it was Ready, seconds."""
    begun = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    [at] = [each["lastTransitionTime"] for each in pod["status"]["conditions"] if each["type"] == "Ready"]
    return (datetime.fromisoformat(at) - datetime.fromisoformat(begun)).total_seconds()


def unique(name: str) -> str:
    """A name for a namespace that no other test has now."""
    return f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')[:40].strip('-')}-{time.monotonic_ns() % 1_000_000:06d}"


def _fake(node: Object) -> bool:
    return bool(objects.FAKE.items() <= node["metadata"].get("annotations", {}).items())


def _is(pod: Object, phase: str) -> bool:
    if phase == "Ready":
        return condition(pod, "Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
    return bool(pod["status"].get("phase") == phase)
