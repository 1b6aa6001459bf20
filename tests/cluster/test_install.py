"""`helm install` as a newcomer does it, and what a person sees then: Ready pods, the nodes' own measurements on the wall, and what is applied with kubectl.

One release serves all of it, in the order of a first day: it ends with going back and uninstalling. What is slow here is told with
-s and never judged.
"""

import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

from tests.browser.system import ask
from tests.browser.watching import Watched
from tests.cluster.api import until
from tests.cluster.cluster import Cluster, listening, ready_after, unique
from tests.cluster.operating import document
from tests.cluster.release import Release

pytestmark = [pytest.mark.node, pytest.mark.sandbox]

PATIENCE_S = 180.0
PANEL = {"id": "busy", "type": "stat", "query": {"metric": "host_cpu_busy_ratio"}}


@dataclass(frozen=True)
class Installed:
    """release; said: what Helm printed; begun: when, by the monotonic clock; ready_s: how long until everything was Ready."""

    release: Release
    said: str
    begun: float
    ready_s: float


@pytest.fixture(scope="module")
def installed(cluster: Cluster, images: Mapping[str, str]) -> Iterator[Installed]:
    with cluster.namespace(unique("install")) as namespace:
        release, begun = Release(cluster, namespace), time.monotonic()
        said = release.install()
        yield Installed(release, said, begun, time.monotonic() - begun)


@pytest.fixture
def wall(installed: Installed, browser: Browser) -> Iterator[Watched]:
    """A page in which nothing may go wrong. It is on the list of dashboards, with a token."""
    with opened(browser, installed.release.url("gateway"), installed.release.token()) as page:
        yield page


@contextlib.contextmanager
def opened(browser: Browser, address: str, token: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=address)
    context.set_default_timeout(PATIENCE_S * 1000)
    page = Watched(context)
    page.allow(r"request failed: GET \S+ net::ERR_ABORTED")  # what a page still asked for when it was left
    page.page.goto(f"/#token={token}")
    page.page.wait_for_selector(".card")
    yield page
    problems = page.problems()
    context.close()
    assert not problems, problems


def forwarded(release: Release, name: str, port: int) -> contextlib.AbstractContextManager[str]:
    """As NOTES.txt says, but on a port that is free."""
    return listening("port-forward", "-n", release.namespace, name, f":{port}")


def newest(page: Watched) -> dict[str, int]:
    """When the newest value was measured that each panel shows, in epoch ms."""
    found: list[list[str]] = page.page.locator("[data-panel] [data-value]").evaluate_all(
        "(all) => all.map((one) => [one.closest('[data-panel]').dataset.panel, one.dataset.time])"
    )
    return {panel: int(at) for panel, at in found if at}


def test_everything_is_ready_and_the_check_passes(installed: Installed) -> None:
    assert "FOR EVALUATION ONLY" in installed.said
    assert "Succeeded" in installed.release.check()
    print(f"\nfrom helm install to Ready: {installed.ready_s:.1f} s")
    for pod in installed.release.pods():
        print(f"  {pod['metadata']['name']}: Ready {ready_after(pod):.0f} s after its container began, to the second")


def test_the_wall_shows_what_the_nodes_measure_now(installed: Installed, wall: Watched, nodes: list[str]) -> None:
    cards = wall.text(".cards")
    assert "Nodes" in cards
    assert "tideboard.dev" not in cards, "nobody wants to read the address of a resource"
    wall.page.goto("/d/host")
    wall.until(lambda: "" if newest(wall) else "no panel has a value", PATIENCE_S)
    print(f"\nfrom helm install to the first painted value: {time.monotonic() - installed.begun:.1f} s")
    before = newest(wall)

    def older() -> str:
        behind = [panel for panel, at in before.items() if newest(wall).get(panel, 0) <= at]
        return f"these do not move: {behind}" if behind else ""

    wall.until(older, PATIENCE_S)
    for node in nodes:
        wall.until_text("[data-panel=loads]", node)


def test_the_wall_comes_through_a_forwarded_port(installed: Installed, browser: Browser) -> None:
    release = installed.release
    with (
        forwarded(release, f"service/{release.full('gateway')}", 8080) as address,
        opened(browser, address, release.token()) as page,
    ):
        page.page.goto("/d/host")
        page.until(lambda: "" if newest(page) else "no panel has a value", PATIENCE_S)


def test_orders_come_through_a_forwarded_port_of_their_own(installed: Installed) -> None:
    """And not through the one where anything may be that reads metrics."""
    release = installed.release
    gateway = f"deployment/{release.full('gateway')}"
    with forwarded(release, gateway, 9101) as orders, forwarded(release, gateway, 9100) as admin:
        ports = [int(address.rpartition(":")[2]) for address in (orders, admin)]
        order = b'{"viewers": 1}'
        assert [ask(port, "POST", "/shed", order)[0] for port in ports] == [202, 404]
        assert ask(ports[1], "POST", "/drain")[0] == 404
        assert ask(ports[1], "GET", "/readyz") == (200, b"ok\n")


def test_what_is_applied_shows_and_what_is_broken_leaves_the_last_good_one(installed: Installed, wall: Watched) -> None:
    release = installed.release
    cluster, namespace = release.cluster, release.namespace

    def apply(spec: dict[str, object]) -> float:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=document("shop", spec))
        return time.monotonic()

    applied = apply({"title": "The shop", "panels": [PANEL]})
    wall.until_text(".cards", "The shop")
    print(f"\nfrom kubectl apply to the list: {time.monotonic() - applied:.1f} s")
    wall.page.goto("/d/shop")
    wall.until(lambda: "" if newest(wall) else "no panel has a value", PATIENCE_S)
    applied = apply({"title": "Another shop", "panels": [PANEL, {**PANEL, "id": "more", "title": "And more"}]})
    wall.until_text("[data-panel=more]", "And more")
    print(f"from kubectl apply to an open dashboard: {time.monotonic() - applied:.1f} s")

    apply({"title": "Broken", "panels": [{**PANEL, "query": {"metric": "load", "fn": ["avrage"]}}]})
    ready = until("the condition to say so", lambda: condition(release, "shop", "False"), PATIENCE_S)
    assert "spec.panels[0].query.fn" in ready["message"]
    listed = cluster.kubectl("get", "dashboard", "shop", "-n", namespace)
    assert re.search(r"shop +2 +False +" + ready["reason"], listed), listed
    wall.until(lambda: "" if "more" in newest(wall) else "the last good one is gone", PATIENCE_S)
    before = newest(wall)["more"]
    wall.until(lambda: "" if newest(wall)["more"] > before else "it has stopped", PATIENCE_S)


def test_a_release_goes_back_and_goes(installed: Installed) -> None:
    release = installed.release
    cluster, namespace = release.cluster, release.namespace
    first = environment(release)
    release.upgrade({"collector": {"intervalMs": 5000}})
    assert environment(release) != first
    release.rollback(1)
    assert environment(release) == first
    assert "Succeeded" in release.check()
    cluster.kubectl("delete", "dashboard", "shop", "-n", namespace)  # it is ours, not the release's
    release.uninstall()
    kept = {f"persistentvolumeclaim/data-{release.full(component)}-0" for component in ("kafka", "redis")}
    until("only the data to be left", lambda: left(cluster, namespace) == kept or None, PATIENCE_S)
    assert wide(cluster, release) == {f"{DEFINITION}/{plural}.tideboard.dev" for plural in ("dashboards", "sources")}


DEFINITION = "customresourcedefinition.apiextensions.k8s.io"


def left(cluster: Cluster, namespace: str) -> set[str]:
    """Every object of every kind in a namespace, but for what Kubernetes puts there itself and what it tells of the past."""
    names = cluster.kubectl("get", kinds(cluster, "--namespaced"), "-n", namespace, "-o", "name").split()
    own = ("configmap/kube-root-ca.crt", "serviceaccount/default")
    return {name for name in names if name not in own and not name.startswith("event")}


def wide(cluster: Cluster, release: Release) -> set[str]:
    """Every object of the cluster itself that has the release's label."""
    words = ("get", kinds(cluster, "--namespaced=false"), "-l", release.selector(), "-o", "name")
    return set(cluster.kubectl(*words).split())


def kinds(cluster: Cluster, which: str) -> str:
    return ",".join(cluster.kubectl("api-resources", which, "--verbs=list", "-o", "name").split())


def condition(release: Release, name: str, status: str) -> dict[str, str] | None:
    """A dashboard's condition Ready, once it has this status."""
    told = json.loads(release.cluster.kubectl("get", "dashboard", name, "-n", release.namespace, "-o", "json"))
    found = [each for each in told.get("status", {}).get("conditions", []) if each["type"] == "Ready"]
    return next((each for each in found if each["status"] == status), None)


def environment(release: Release) -> dict[str, str]:
    """What collectors are told."""
    path = f"/api/v1/namespaces/{release.namespace}/configmaps/{release.full('collector')}"
    return dict(release.cluster.api.get(path)["data"])
