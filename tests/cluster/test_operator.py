"""The operator against a real API server and a real Valkey: what people do with kubectl, and what they see."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from services.contract.registry import VERSION, Entry, encode_entry
from services.transport.registry import DASHBOARD_SHELF, SOURCE_SHELF
from tests.cluster import operating
from tests.cluster.api import Object, until
from tests.cluster.cluster import Cluster, unique
from tests.cluster.operating import Operator, document, registry
from tests.servers import ROOT, Valkey

pytestmark = pytest.mark.api

PANEL: dict[str, Any] = {"id": "cpu", "type": "stat", "query": {"metric": "load"}}
GOOD: dict[str, Any] = {"panels": [PANEL]}
# A list of functions is what a schema cannot look into, so that it comes to the operator.
BAD: dict[str, Any] = {"panels": [{**PANEL, "query": {"metric": "load", "fn": ["avrage"]}}]}
TOPIC: dict[str, Any] = {"topic": "shop.orders", "format": "json"}
LISTED = 'tideboard_operator_listed_changes_total{kind="Dashboard"}'
Start = Callable[..., Operator]


@pytest.fixture(scope="module", autouse=True)
def _definitions(cluster: Cluster) -> Iterator[None]:
    with operating.definitions(cluster):
        yield


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis.from_url(valkey.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def start(cluster: Cluster, namespace: str, valkey: Valkey, redis: Redis, tmp_path: Path) -> Iterator[Start]:
    """Starts operators, with the namespaces that they watch: by default their own."""
    begun: list[Operator] = []
    kubeconfig = operating.account(cluster, namespace, tmp_path)
    operating.grant(cluster, namespace, namespace)

    def one(*namespaces: str) -> Operator:
        for other in {*namespaces} - {namespace, "*"}:
            operating.grant(cluster, other, namespace)
        operator = Operator(kubeconfig, valkey.url, namespaces)
        begun.append(operator)
        operator.start()
        return operator

    yield one
    for operator in begun:
        assert operator.stop() == 0


@pytest.fixture
def apply(cluster: Cluster, namespace: str) -> Callable[..., str]:
    def it(name: str, spec: Object, kind: str = "Dashboard", where: str = namespace) -> str:
        return cluster.kubectl("apply", "-n", where, "-f", "-", stdin=document(name, spec, kind))

    return it


def condition(cluster: Cluster, namespace: str, name: str, plural: str = "dashboards") -> Object:
    found = cluster.api.get(f"/apis/tideboard.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}")
    told: Object = next(iter(found.get("status", {}).get("conditions", [])), {})
    current = told.get("observedGeneration") == found["metadata"]["generation"] == found["status"]["observedGeneration"]
    return {**told, "panels": found["status"].get("panels")} if told and current else {}


def told(cluster: Cluster, namespace: str, name: str, reason: str, plural: str = "dashboards") -> Object:
    """The condition, as soon as it is about the newest generation and gives that reason."""

    def it() -> Object | None:
        found = condition(cluster, namespace, name, plural)
        return found if found.get("reason") == reason else None

    return until(f"{name} to be {reason}", it)


def test_what_is_applied_changed_broken_mended_and_deleted(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], valkey: Valkey
) -> None:
    start()
    apply("shop", GOOD)
    first = told(cluster, namespace, "shop", "Accepted")
    assert (first["status"], first["message"], first["panels"]) == ("True", "1 panel shown", 1)
    entry = registry(valkey.url)["shop"]
    assert (entry.source, entry.document) == (
        f"dashboard.tideboard.dev/{namespace}/shop",
        {"apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "shop"}, "spec": GOOD},
    )
    two = {"title": "The shop", "panels": [PANEL, {**PANEL, "id": "more"}]}
    apply("shop", two)
    assert until("two panels", lambda: condition(cluster, namespace, "shop").get("panels") == 2)
    apply("shop", {**BAD, "title": "broken"})
    broken = told(cluster, namespace, "shop", "Invalid")
    assert broken["message"].startswith("spec.panels[0].query.fn: 'avrage' is not a function; expected one of avg, sum,")
    assert broken["message"].endswith("; the last good version stays in force")
    assert (broken["status"], broken["panels"]) == ("False", 2)
    held = registry(valkey.url)["shop"]
    assert (held.document or {})["spec"] == two
    assert held.fault is not None
    apply("shop", GOOD)
    told(cluster, namespace, "shop", "Accepted")
    assert registry(valkey.url)["shop"].fault is None
    cluster.kubectl("delete", "dashboard", "shop", "-n", namespace)
    until("the entry to be gone", lambda: registry(valkey.url) == {})


def test_what_people_see(cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str]) -> None:
    start()
    apply("good", GOOD)
    apply("bad", BAD)
    apply("orders", TOPIC, "Source")
    told(cluster, namespace, "good", "Accepted")
    told(cluster, namespace, "bad", "Invalid")
    told(cluster, namespace, "orders", "Accepted", "sources")
    boards = [line.split() for line in cluster.kubectl("get", "dashboards", "-n", namespace).splitlines()]
    assert boards[0] == ["NAME", "PANELS", "READY", "REASON", "AGE"]
    assert [line[:4] for line in boards[1:]] == [["bad", "0", "False", "Invalid"], ["good", "1", "True", "Accepted"]]
    sources = [line.split() for line in cluster.kubectl("get", "sources", "-n", namespace).splitlines()]
    assert sources[0] == ["NAME", "TOPIC", "FORMAT", "READY", "REASON", "AGE"]
    assert sources[1][:5] == ["orders", "shop.orders", "json", "True", "Accepted"]
    assert "spec.panels[0].query.fn: 'avrage'" in cluster.kubectl("get", "dashboards", "-n", namespace, "-o", "wide")
    events = until("two events", lambda: _events(cluster, namespace, "bad") and _events(cluster, namespace, "good"))
    assert re.fullmatch(r"Normal +Accepted +\S+ +tideboard-operator +1 panel shown", events)
    warning = _events(cluster, namespace, "bad")
    assert re.match(r"Warning +Invalid +\S+ +tideboard-operator +spec\.panels\[0\]\.query\.fn: 'avrage' is not", warning)
    assert "good" in cluster.kubectl("get", "tideboard", "-n", namespace)
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "dashboard/good", "-n", namespace)


def _events(cluster: Cluster, namespace: str, name: str) -> str:
    """What `kubectl describe` shows below Events."""
    said = cluster.kubectl("describe", "dashboard", name, "-n", namespace)
    lines = said[said.index("Events:") :].splitlines()[3:]
    return "\n".join(line.strip() for line in lines)


def test_what_happens_while_there_is_no_operator_is_seen_by_the_next_one(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], valkey: Valkey, redis: Redis
) -> None:
    other = Entry(VERSION, "file", "", None, "boards/file.yaml")
    redis.hset(DASHBOARD_SHELF.entries, "file", encode_entry(other))
    first = start()
    for name in ("stays", "goes", "breaks"):
        apply(name, GOOD)
        told(cluster, namespace, name, "Accepted")
    good = registry(valkey.url)["breaks"].document
    first.stop(signal.SIGKILL)
    cluster.kubectl("delete", "dashboard", "goes", "-n", namespace, "--timeout=30s")  # nothing holds it
    apply("comes", GOOD)
    apply("breaks", BAD)
    start()
    told(cluster, namespace, "comes", "Accepted")
    told(cluster, namespace, "breaks", "Invalid")
    found = registry(valkey.url)
    assert set(found) == {"stays", "comes", "breaks", "file"}
    assert found["breaks"].document == good


def test_a_namespace_ends_though_there_is_no_operator_any_more(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str]
) -> None:
    operator = start()
    apply("shop", GOOD)
    told(cluster, namespace, "shop", "Accepted")
    operator.stop()
    found = cluster.api.get(f"/apis/tideboard.dev/v1alpha1/namespaces/{namespace}/dashboards/shop")["metadata"]
    assert "finalizers" not in found
    assert set(found.get("annotations", {})) == {"kubectl.kubernetes.io/last-applied-configuration"}
    cluster.kubectl("delete", "namespace", namespace, "--timeout=60s")


def test_of_two_namespaces_the_first_has_the_name_until_it_gives_it_up(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], valkey: Valkey
) -> None:
    with cluster.namespace(unique("second")) as second:
        start(namespace, second)
        apply("shop", GOOD)
        told(cluster, namespace, "shop", "Accepted")
        apply("shop", GOOD, where=second)
        taken = told(cluster, second, "shop", "NameTaken")
        assert taken["message"] == (
            f"metadata.name: 'shop' is taken by dashboard.tideboard.dev/{namespace}/shop, which had it first"
        )
        cluster.kubectl("delete", "dashboard", "shop", "-n", namespace)
        told(cluster, second, "shop", "Accepted")
        assert registry(valkey.url)["shop"].source == f"dashboard.tideboard.dev/{second}/shop"


def test_other_namespaces_are_not_looked_at(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], valkey: Valkey
) -> None:
    with cluster.namespace(unique("elsewhere")) as elsewhere:
        apply("theirs", GOOD, where=elsewhere)
        operator = start()
        apply("ours", GOOD)
        told(cluster, namespace, "ours", "Accepted")
        operator.listed(2)
        assert set(registry(valkey.url)) == {"ours"}
        assert condition_or_none(cluster, elsewhere, "theirs") is None


def condition_or_none(cluster: Cluster, namespace: str, name: str) -> object:
    return cluster.api.get(f"/apis/tideboard.dev/v1alpha1/namespaces/{namespace}/dashboards/{name}").get("status")


def test_all_namespaces_can_be_watched(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], valkey: Valkey
) -> None:
    with cluster.namespace(unique("later")) as later, operating.granted_everywhere(cluster, namespace):
        apply("here", GOOD)
        operator = start("*")
        told(cluster, namespace, "here", "Accepted")
        brought = operator.counted(LISTED)
        apply("there", GOOD, where=later)
        told(cluster, later, "there", "Accepted")
        assert operator.counted(LISTED) == brought  # it was watched
        assert {"here", "there"} <= set(registry(valkey.url))
        cluster.kubectl("delete", "dashboard", "there", "-n", later)
        until("the entry to be gone", lambda: "there" not in registry(valkey.url))


def test_a_registry_that_is_away_is_told_and_written_when_it_is_back(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], valkey: Valkey
) -> None:
    operator = start()
    apply("before", GOOD)
    told(cluster, namespace, "before", "Accepted")
    valkey.kill()
    try:
        apply("meanwhile", GOOD)
        away = told(cluster, namespace, "meanwhile", "RegistryAway")
        assert away["message"].startswith("not written yet, it is tried again: ")
        assert told(cluster, namespace, "before", "Accepted")  # nothing is known to be wrong with it
        until("the operator not to be ready", lambda: not operator.status()["ready"])
    finally:
        valkey.start()
    told(cluster, namespace, "meanwhile", "Accepted")
    until("all of it to be written again", lambda: set(registry(valkey.url)) == {"before", "meanwhile"})


@pytest.mark.sandbox
def test_definitions_that_are_taken_away_and_come_back(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], valkey: Valkey
) -> None:
    operator = start()
    apply("shop", GOOD)
    told(cluster, namespace, "shop", "Accepted")
    cluster.kubectl("delete", "crd", "dashboards.tideboard.dev")
    until("the entry to be gone", lambda: registry(valkey.url) == {})
    until("the operator not to be ready", lambda: "not installed" in operator.status()["reason"])
    begun = operator.counted("tideboard_operator_watches_started_total")
    until("the watch to begin anew", lambda: operator.counted("tideboard_operator_watches_started_total") > begun)
    operating.define(cluster)  # by now the watch has found nothing to watch
    apply("again", GOOD)
    told(cluster, namespace, "again", "Accepted")  # by a list
    until("a watch of them", lambda: operator.counted("tideboard_operator_watches_started_total") > begun + 1)
    operator.listed(2)
    brought = operator.counted(LISTED)
    apply("later", GOOD)
    told(cluster, namespace, "later", "Accepted")
    assert operator.counted(LISTED) == brought


def test_nothing_is_written_where_nothing_has_changed(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], redis: Redis
) -> None:
    operator = start()
    apply("good", GOOD)
    apply("bad", BAD)
    told(cluster, namespace, "good", "Accepted")
    told(cluster, namespace, "bad", "Invalid")

    def all_that_is_written() -> tuple[object, ...]:
        items = cluster.api.items(f"/apis/tideboard.dev/v1alpha1/namespaces/{namespace}/dashboards")
        return redis.get(DASHBOARD_SHELF.revision), [item["metadata"]["resourceVersion"] for item in items]

    before = all_that_is_written()
    operator.listed(3)
    cluster.kubectl("label", "dashboard", "good", "-n", namespace, "team=infra")
    cluster.kubectl("label", "dashboard", "good", "-n", namespace, "team-")
    operator.listed(2)
    after = all_that_is_written()
    assert after[0] == before[0]
    assert operator.counted('tideboard_operator_statuses_total{kind="Dashboard",outcome="written"}') == 2
    assert operator.counted("tideboard_operator_watches_started_total") == 1


def test_a_status_that_somebody_else_has_spoiled_is_written_again(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str]
) -> None:
    start()
    apply("shop", GOOD)
    told(cluster, namespace, "shop", "Accepted")
    path = f"/apis/tideboard.dev/v1alpha1/namespaces/{namespace}/dashboards/shop/status"
    cluster.api.patch(path, {"status": {"panels": 99, "conditions": []}})
    found = told(cluster, namespace, "shop", "Accepted")
    assert found["panels"] == 1


def test_sources_are_written_to_their_own_shelf_and_what_only_the_reader_sees_is_told(
    cluster: Cluster, namespace: str, start: Start, apply: Callable[..., str], valkey: Valkey
) -> None:
    start()
    apply("orders", {**TOPIC, "sample": {"metric": "m", "value": "$.v", "labels": {"1st": "x"}}}, "Source")
    bad = told(cluster, namespace, "orders", "Invalid", "sources")
    assert bad["message"].startswith("spec.sample.labels.1st: is not a label name")
    apply("orders", TOPIC, "Source")
    assert told(cluster, namespace, "orders", "Accepted", "sources")["message"] == "topic shop.orders is read"
    assert set(registry(valkey.url, SOURCE_SHELF)) == {"orders"}
    cluster.kubectl("delete", "source", "orders", "-n", namespace)
    until("the entry to be gone", lambda: registry(valkey.url, SOURCE_SHELF) == {})


# What the API server refuses by itself


@pytest.mark.parametrize("path", sorted((ROOT / "dashboards").glob("*.yaml")), ids=lambda path: str(path.stem))
def test_the_dashboards_that_are_shipped_can_be_applied(cluster: Cluster, path: Path) -> None:
    for text in (path.read_text(), path.read_text().replace('"y"', "y")):  # quotes are not asked for
        assert "(server dry run)" in cluster.kubectl("apply", *DRY, stdin=text)


DRY = ("--dry-run=server", "--namespace=default", "--filename=-")
REFUSED: list[tuple[str, Any, str]] = [
    ("two of one id", {"panels": [PANEL, PANEL]}, 'spec.panels[1]: Duplicate value: {"id":"cpu"}'),
    ("a misspelt field", {"pannels": []}, 'unknown field "spec.pannels"'),
    ("no query", {"panels": [{"id": "a", "type": "stat"}]}, "spec.panels[0]: Invalid value: needs either query or queries"),
    ("both", {"panels": [{**PANEL, "queries": [{"metric": "a"}]}]}, "needs either query or queries"),
    ("ids of queries", {"panels": [{"id": "a", "type": "stat", "queries": [{"metric": "a", "id": "x"}] * 2}]}, "spec.panels[0].queries: Invalid value: two queries have the same id"),
    ("a kind of panel", {"panels": [{**PANEL, "type": "pie"}]}, 'spec.panels[0].type: Unsupported value: "pie": supported values: "timeseries"'),
    ("a function", {"panels": [{**PANEL, "fn": "avrage"}]}, "spec.panels[0].fn: Invalid value"),
    ("every too short", {"panels": [{**PANEL, "query": {"metric": "a", "every": "49ms"}}]}, "spec.panels[0].query.every: Invalid value: expected 50ms to 1h"),
    ("every too long", {"panels": [{**PANEL, "query": {"metric": "a", "every": "0.5d"}}]}, "expected 50ms to 1h"),
    ("no length", {"window": "5 minutes", "panels": []}, "spec.window: Invalid value"),
    ("buckets", {"window": "1h", "panels": [{**PANEL, "id": "other", "window": "5m"}, PANEL]}, "spec: Invalid value: panel cpu: window / every is more than 2,000 buckets"),
    ("buckets of one of several", {"panels": [{"id": "a", "type": "stat", "queries": [{"metric": "a"}, {"metric": "b", "every": "50ms"}]}]}, "panel a: window / every"),
    ("over", {"every": "2s", "panels": [{**PANEL, "query": {"metric": "a", "over": "5s"}}]}, "panel cpu: over is not a multiple of every"),
    ("scale", {"panels": [{**PANEL, "min": 1, "max": 1}]}, "spec.panels[0]: Invalid value: max must be more than min"),
    ("grid", {"panels": [{**PANEL, "grid": {"x": 20, "y": 0, "w": 5, "h": 1}}]}, "spec.panels[0].grid: Invalid value: x + w must stay within 24 columns"),
    ("rows", {"panels": [{**PANEL, "grid": {"x": 0, "w": 5, "h": 1}}]}, "spec.panels[0].grid: Invalid value: needs y, once"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "sentence"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_the_api_server_can_tell_is_refused_with_a_sentence(cluster: Cluster, spec: Object, sentence: str) -> None:
    done = cluster.tried("kubectl", "apply", *DRY, stdin=document("x", spec))
    assert done.returncode == 1
    assert sentence in re.sub(r'Invalid value: (?:"object"|"[^"]*"|\{.*?\}|\[.*?\]): ', "Invalid value: ", done.stderr)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({**TOPIC, "topic": "tideboard.samples"}, "is no topic that can be read"),
        ({**TOPIC, "sample": {"metric": "a", "value": 1}, "samples": [{"metric": "a", "value": 1}]}, "needs sample or samples, not both"),
        ({**TOPIC, "format": "tideboard", "sample": {"metric": "a", "value": 1}}, "sample and samples are for json or ndjson"),
        ({**TOPIC, "format": "avro"}, 'Unsupported value: "avro"'),
        ({**TOPIC, "from": "yesterday"}, "spec.from: Invalid value"),
    ],
)  # fmt: skip
def test_what_the_api_server_can_tell_of_a_source_is_refused(cluster: Cluster, spec: Object, sentence: str) -> None:
    done = cluster.tried("kubectl", "apply", *DRY, stdin=document("x", spec, "Source"))
    assert done.returncode == 1
    assert sentence in done.stderr


def test_a_name_with_a_dot_is_refused(cluster: Cluster) -> None:
    done = cluster.tried("kubectl", "apply", *DRY, stdin=document("a.b", GOOD))
    assert "metadata.name" in done.stderr


def test_kubectl_explains_every_field(cluster: Cluster) -> None:
    said = until("the definitions to be explained", lambda: cluster.tried("kubectl", "explain", "dashboard.spec.panels").stdout)
    assert re.search(r"FIELDS:\n.*  type\s+<string> -required-\n(.*\n)*?    How it is drawn\.", said, re.DOTALL)
    assert "First reduce every series" in cluster.kubectl("explain", "dashboard.spec.panels.query.each")
    assert "latest, earliest" in cluster.kubectl("explain", "source.spec.from")
