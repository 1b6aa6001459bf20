"""The budget of memory in Redis: what is said, and what goes first."""

from typing import Any

import pytest

from services.aggregator.budget import SETTLE_MS, Cap, Memory, evicts, next_cap, tightest, warning
from services.aggregator.wanted import wanted
from services.contract.dashboards import DEFAULT_RESOLUTIONS
from services.contract.registry import VERSION, Entry
from tests.unit.aggregator.logs import document

DAY = 86_400_000
LONGEST = DEFAULT_RESOLUTIONS[-1].for_ms
NOW = 1_763_791_200_000


def memory(percent: float, policy: str = "noeviction") -> Memory:
    return Memory(round(percent * 10_000_000), 1_000_000_000, policy)


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        ("noeviction", False),
        ("allkeys-lru", True),
        ("volatile-ttl", True),
        ("volatile-lru", True),
        ("one-to-come", True),
        ("", False),
    ],
)
def test_a_server_that_drops_keys_is_refused_with_what_to_do(policy: str, wrong: bool) -> None:
    said = evicts(memory(10, policy))
    assert bool(said) is wrong
    assert not wrong or said.endswith("set maxmemory-policy to noeviction")


def test_of_several_servers_the_fullest_counts_or_one_that_drops_keys() -> None:
    assert tightest([memory(40), memory(60), Memory(10**12, 0, "")]) == memory(60)
    assert tightest([memory(40, "allkeys-lru"), memory(95)]) == memory(40, "allkeys-lru")
    assert tightest([memory(40)]) == memory(40)


def test_a_policy_without_a_limit_does_no_harm() -> None:
    assert evicts(Memory(10**9, 0, "allkeys-lru")) == ""


@pytest.mark.parametrize(
    ("percent", "says"),
    [(69, ""), (70, "at 90% the oldest"), (89, "at 90% the oldest"), (91, "is dropped; give it more memory")],
)
def test_a_warning_comes_before_data_goes(percent: float, says: str) -> None:
    assert says in warning(memory(percent))
    assert bool(warning(memory(percent))) is bool(says)


def test_no_budget_is_never_full() -> None:
    assert (warning(Memory(10**12, 0, "")), next_cap(Memory(10**12, 0, ""), Cap(), LONGEST, NOW)) == ("", Cap())


def test_the_oldest_goes_first_and_what_went_is_waited_for() -> None:
    first = next_cap(memory(90), Cap(), LONGEST, NOW)
    assert first == Cap(7 * DAY, NOW)
    assert next_cap(memory(95), first, LONGEST, NOW + SETTLE_MS - 1) == first
    assert next_cap(memory(95), first, LONGEST, NOW + SETTLE_MS) == Cap(7 * DAY // 2, NOW + SETTLE_MS)
    assert next_cap(memory(80), first, LONGEST, NOW + SETTLE_MS) == first


def test_coarse_data_is_kept_as_before_when_there_is_much_room() -> None:
    held = Cap(7 * DAY, NOW)
    assert next_cap(memory(60), held, LONGEST, NOW + SETTLE_MS) == held
    assert next_cap(memory(49), held, LONGEST, NOW + SETTLE_MS) == Cap(0, NOW + SETTLE_MS)


def test_a_cap_shortens_what_is_coarse_and_nothing_else() -> None:
    panel = {"id": "p", "type": "stat", "query": {"metric": "load", "fn": "avg"}}
    made: Any = document([panel])
    del made["spec"]["resolutions"]
    entries = {"test": Entry(VERSION, "test", "r", made, "test")}
    free, capped = wanted(entries), wanted(entries, DAY)
    assert free.config.selections == capped.config.selections
    kept = {
        item.every_ms: (free.config.retentions[name], capped.config.retentions[name])
        for name, item in free.config.selections.items()
    }
    assert kept == {
        1_000: (900_000, 900_000), 10_000: (21_600_000, 21_600_000), 60_000: (2 * DAY, DAY), 600_000: (14 * DAY, DAY + 60_000),
    }  # fmt: skip
    assert {view.every_ms: kept_ms for view, kept_ms in capped.views.values()} == {
        1_000: 900_000, 10_000: 21_600_000, 60_000: DAY, 600_000: DAY,
    }  # fmt: skip
