"""What the registry should hold given what the cluster has, and the word and the sentence for each resource."""

from collections.abc import Mapping
from typing import Any

import pytest

from services.contract.registry import VERSION, Entry
from services.operator.deciding import Decision, Reason, Verdict, decide, delayed, undecided
from services.operator.reading import Reader
from services.operator.resources import Resource, ownership
from tests.unit.operator.objects import BAD_BOARD, BOARD, TOPIC, resource

NOTHING: Mapping[str, Entry] = {}
ANOTHER: Any = {"panels": [*BOARD["panels"], {"id": "two", "type": "stat", "query": {"metric": "load"}}]}


def decided(*resources: Resource, held: Mapping[str, Entry] = NOTHING, kept: Mapping[str, Entry] = NOTHING) -> Decision:
    kind = resources[0].kind if resources else "Dashboard"
    return decide(kind, resources, held, kept, ownership(kind, frozenset({"a", "b"})), Reader())


def only(decision: Decision) -> Verdict:
    (verdict,) = decision.verdicts
    return verdict


def words(decision: Decision) -> dict[str, str]:
    return {verdict.resource.namespace: str(verdict.reason) for verdict in decision.verdicts}


def test_a_good_dashboard_is_written_without_what_kubernetes_adds() -> None:
    decision = decided(resource())
    entry = decision.wanted["shop"]
    assert entry.document == {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "shop"}, "spec": BOARD,
    }  # fmt: skip
    assert (entry.source, entry.fault, entry.dashboard() is not None) == ("dashboard.tideboard.dev/a/shop", None, True)
    verdict = only(decision)
    assert (verdict.ready, verdict.reason, verdict.message, verdict.panels) == (True, "Accepted", "1 panel shown", 1)
    assert verdict.memory is not None
    assert verdict.memory > 1_000


def test_a_row_that_yaml_has_taken_for_a_truth_is_a_row() -> None:
    panel = {**BOARD["panels"][0], "grid": {"x": 0, "true": 3, "w": 4, "h": 4}}
    dashboard = decided(resource(spec={"panels": [panel]})).wanted["shop"].dashboard()
    assert dashboard is not None
    assert dashboard.panels[0].grid.y == 3
    both = {**panel, "grid": {"x": 0, "y": 1, "true": 3, "w": 4, "h": 4}}
    assert only(decided(resource(spec={"panels": [both]}))).reason is Reason.invalid


def test_a_good_source_is_written() -> None:
    decision = decided(resource("orders", TOPIC, kind="Source"))
    assert decision.wanted["orders"].source == "source.tideboard.dev/a/orders"
    verdict = only(decision)
    assert (verdict.reason, verdict.message, verdict.panels) == (Reason.accepted, "topic shop.orders is read", None)


def test_a_bad_one_is_told_with_path_and_reason_and_is_there_without_a_document() -> None:
    decision = decided(resource(spec=BAD_BOARD))
    verdict, entry = only(decision), decision.wanted["shop"]
    assert verdict.reason is Reason.invalid
    assert verdict.message.startswith("spec.panels[0].query.fn: 'avrage' is not a function; expected one of avg, sum")
    assert verdict.message.endswith("; there is no good version yet")
    assert (entry.document, verdict.panels, verdict.ready) == (None, 0, False)
    assert entry.fault is not None
    assert (entry.fault.path, entry.fault.source) == ("spec.panels[0].query.fn", "dashboard.tideboard.dev/a/shop")


@pytest.mark.parametrize("after_a_restart", [True, False])
def test_a_bad_version_keeps_the_last_good_one_in_force(after_a_restart: bool) -> None:
    good = decided(resource(spec=ANOTHER)).wanted
    bad = resource(spec=BAD_BOARD, generation=2)
    decision = decided(bad, held=good) if after_a_restart else decided(bad, kept=good)
    entry, verdict = decision.wanted["shop"], only(decision)
    assert (entry.document, entry.revision) == (good["shop"].document, good["shop"].revision)
    assert entry.fault is not None
    assert (verdict.reason, verdict.panels) == (Reason.invalid, 2)
    assert verdict.message.endswith("; the last good version stays in force")


def test_what_is_mended_is_in_force_again() -> None:
    broken = decided(resource(spec=BAD_BOARD), kept=decided(resource()).wanted).wanted
    decision = decided(resource(spec=ANOTHER, generation=3), held=broken)
    assert (decision.wanted["shop"].fault, only(decision).panels) == (None, 2)


def test_a_document_that_is_none_at_all_is_told_too() -> None:
    specs: tuple[Any, ...] = (None, [], "x", {"pannels": []})
    for spec in specs:
        assert only(decided(resource(spec=spec))).message.startswith("spec: ")


def test_what_is_gone_from_the_cluster_is_not_wanted() -> None:
    assert decided(held=decided(resource()).wanted) == Decision({}, ())


# Names


def test_of_two_namespaces_the_one_that_was_there_first_has_the_name() -> None:
    older = resource(namespace="b", created="2026-11-29T11:00:00Z")
    decision = decided(resource(namespace="a"), older)
    assert words(decision) == {"b": "Accepted", "a": "NameTaken"}
    assert decision.wanted["shop"].source == older.source
    taken = next(verdict for verdict in decision.verdicts if verdict.reason is Reason.name_taken)
    assert taken.message == "metadata.name: 'shop' is taken by dashboard.tideboard.dev/b/shop, which had it first"
    assert (taken.ready, taken.panels) == (False, 0)
    assert decision.wanted["shop"].fault is None  # nothing is wrong with the one that is shown


def test_of_two_of_one_age_the_first_namespace_has_the_name() -> None:
    assert words(decided(resource(namespace="b"), resource(namespace="a"))) == {"a": "Accepted", "b": "NameTaken"}


def test_who_has_a_name_keeps_it_though_an_older_one_comes() -> None:
    held = decided(resource(namespace="a")).wanted
    older = resource(namespace="b", created="2020-01-01T00:00:00Z")
    assert words(decided(resource(namespace="a"), older, held=held)) == {"a": "Accepted", "b": "NameTaken"}


def test_a_name_that_becomes_free_goes_to_who_waits() -> None:
    held = decided(resource(namespace="a")).wanted
    assert words(decided(resource(namespace="b"), held=held)) == {"b": "Accepted"}


def test_a_bad_one_that_also_lacks_the_name_is_told_what_is_wrong_with_it() -> None:
    verdicts = {v.resource.namespace: v for v in decided(resource(), resource(namespace="b", spec=BAD_BOARD)).verdicts}
    assert (verdicts["a"].reason, verdicts["b"].reason) == (Reason.accepted, Reason.invalid)
    assert verdicts["b"].message.endswith("; nothing of it is in force")


@pytest.mark.parametrize(
    "source", ["boards/shop.yaml", "dashboard.tideboard.dev/elsewhere/shop", "source.tideboard.dev/a/shop"]
)
def test_an_entry_of_another_owner_is_neither_overwritten_nor_removed(source: str) -> None:
    held = {"shop": Entry(VERSION, "shop", "1", {"x": 1}, source)}
    decision = decided(resource(), held=held)
    assert decision.wanted == {}
    assert only(decision).message == f"metadata.name: 'shop' is taken by {source}, which had it first"
    assert decided(resource(), held={}).wanted.keys() == {"shop"}


def test_ownership_is_by_kind_and_namespace() -> None:
    mine = ownership("Dashboard", frozenset({"a"}))
    assert mine("dashboard.tideboard.dev/a/shop")
    for other in (
        "dashboard.tideboard.dev/ab/shop", "source.tideboard.dev/a/shop", "boards/shop.yaml", "dashboard.tideboard.dev/a",
        "dashboard.tideboard.dev/a/", "dashboard.tideboard.dev/a/b/c", "registry", "",
    ):  # fmt: skip
        assert not mine(other), other
    assert ownership("Source", None)("source.tideboard.dev/anywhere/x")
    assert not ownership("Source", None)("boards/x.yaml")


# The registry away


def test_while_nothing_is_known_of_the_registry_only_what_is_new_is_told() -> None:
    told = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}
    new, bad = resource("new"), resource("bad", BAD_BOARD)
    known, changed = resource("known", status=told), resource("changed", status=told, generation=2)
    verdicts = {verdict.resource.name: verdict for verdict in undecided([new, bad, known, changed], "refused", Reader())}
    assert {name: str(verdict.reason) for name, verdict in verdicts.items()} == {
        "new": "RegistryAway", "bad": "Invalid", "changed": "RegistryAway",
    }  # fmt: skip
    assert verdicts["new"].message == "not written yet, it is tried again: refused"
    assert verdicts["changed"].panels is None  # nobody can tell what is shown


def test_a_write_that_fails_is_told_of_what_is_not_there_and_of_nothing_else() -> None:
    there = decided(resource("there")).wanted
    decision = decided(resource("there"), resource("new"), resource("bad", BAD_BOARD), held=there)
    found = {verdict.resource.name: str(verdict.reason) for verdict in delayed(decision, there, "away", Reader())}
    assert found == {"there": "Accepted", "new": "RegistryAway", "bad": "Invalid"}


def test_a_document_is_read_once_per_generation() -> None:
    reader, first = Reader(), resource()
    assert reader.claim(first) is reader.claim(resource())
    assert reader.claim(resource(generation=2)) is not reader.claim(first)
    assert reader.claim(resource(uid="another")) is not reader.claim(first)
