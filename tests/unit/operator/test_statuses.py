"""Statuses and events: what is written, and that nothing is where all is said."""

from typing import Any

from services.operator.deciding import Reason, Verdict
from services.operator.resources import read
from services.operator.statuses import changes, event, quantity
from tests.unit.operator.objects import body

NOW, LATER = "2026-11-29T12:00:00Z", "2026-11-29T13:00:00Z"


def verdict(reason: Reason = Reason.accepted, message: str = "1 panel shown", **more: Any) -> Verdict:
    return Verdict(read("Dashboard", body(**more)), reason, message, 1, 5_000)


def written(said: Verdict, now: str = NOW) -> dict[str, Any]:
    """The status as it is after the patch."""
    patch = changes(said, now)
    assert patch is not None
    return {**said.resource.status, **patch["status"]}


def test_the_status_says_what_was_decided_and_of_which_generation() -> None:
    assert written(verdict(generation=3)) == {
        "observedGeneration": 3,
        "panels": 1,
        "memory": "5Ki",
        "conditions": [
            {
                "type": "Ready", "status": "True", "reason": "Accepted", "message": "1 panel shown",
                "lastTransitionTime": NOW, "observedGeneration": 3,
            }
        ],
    }  # fmt: skip


def test_what_is_said_already_is_not_written_again() -> None:
    status = written(verdict())
    assert changes(verdict(status=status), LATER) is None
    assert event(verdict(status=status)) is None


def test_the_time_of_the_transition_is_that_of_the_status_alone() -> None:
    status = written(verdict())
    changed = written(verdict(generation=2, message="2 panels shown", status=status), LATER)
    assert (changed["conditions"][0]["lastTransitionTime"], changed["observedGeneration"]) == (NOW, 2)
    broken = written(verdict(Reason.invalid, "spec: bad", generation=3, status=changed), LATER)
    assert (broken["conditions"][0]["lastTransitionTime"], broken["conditions"][0]["status"]) == (LATER, "False")


def test_a_new_generation_is_observed_though_nothing_else_is_new() -> None:
    status = written(verdict())
    assert written(verdict(generation=2, status=status))["conditions"][0]["observedGeneration"] == 2


def test_conditions_of_others_are_left_as_they_are() -> None:
    theirs = {"type": "Reviewed", "status": "True"}
    assert written(verdict(status={"conditions": [theirs]}))["conditions"][0] == theirs
    assert len(written(verdict(status={"conditions": [theirs]}))["conditions"]) == 2


def test_what_nobody_can_tell_stays_as_it_was() -> None:
    status = written(verdict())
    away = Verdict(read("Dashboard", body(generation=2, status=status)), Reason.registry_away, "away")
    assert written(away, LATER)["panels"] == 1


def test_a_status_of_any_shape_is_mended() -> None:
    shapes: tuple[Any, ...] = ({"conditions": "x"}, {"conditions": [None, {"type": "Ready"}]}, {"panels": []})
    for status in shapes:
        assert written(verdict(status=status))["conditions"][-1]["lastTransitionTime"] == NOW


def test_events_tell_of_what_has_become_ready_and_of_every_new_fault() -> None:
    first = event(verdict())
    assert first is not None
    assert (first.type, first.reason, first.message) == ("Normal", "Accepted", "1 panel shown")
    status = written(verdict())
    assert event(verdict(generation=2, message="2 panels shown", status=status)) is None
    fault = event(verdict(Reason.invalid, "spec: bad", generation=2, status=status))
    assert fault is not None
    assert (fault.type, fault.reason, fault.message) == ("Warning", "Invalid", "spec: bad")
    broken = written(verdict(Reason.invalid, "spec: bad", generation=2, status=status))
    assert event(verdict(Reason.invalid, "spec: bad", generation=3, status=broken)) is None
    assert event(verdict(Reason.invalid, "spec: worse", generation=3, status=broken)) is not None


def test_memory_is_told_as_kubernetes_writes_it() -> None:
    sizes = [0, 1_023, 1_024, 1_025, 1_048_576, 86_462_004, 3_000_000_000]
    assert [quantity(size) for size in sizes] == ["0", "1023", "1Ki", "2Ki", "1Mi", "83Mi", "2862Mi"]


def test_a_long_message_fits_into_an_event() -> None:
    told = event(verdict(Reason.invalid, "x" * 5_000))
    assert told is not None
    assert len(told.message) == 1_024
