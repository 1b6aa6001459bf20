"""In how many passes the past is read for what a new dashboard asks for."""

import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from services.aggregator.catchup import CatchUp, Slot
from services.aggregator.fold import Fold
from services.aggregator.rests import HEADWAY_S, PAUSE, Headway, Rests
from services.aggregator.wanted import Wanted, all_lacking, lacking, sampled, wanted
from services.contract.partials import Config
from services.contract.registry import VERSION, Entry
from services.transport.settings import KafkaSettings
from tests.unit.aggregator.logs import config, document, gauge, records, view, write

MINUTE_MS = 60_000
LOAD = {"metric": "load", "by": ["host"], "fn": "avg", "every": "1s"}
BYTES = {"metric": "bytes", "by": ["host"], "fn": "rate", "every": "1s"}


def asked(query: dict[str, Any], *resolutions: dict[str, str]) -> Wanted:
    made: Any = document([{"id": "p", "type": "timeseries", "query": query}])
    made["spec"]["resolutions"] = list(resolutions)
    return wanted({"test": Entry(VERSION, "test", "r", made, "test")})


LEVELS = asked(LOAD, {"every": "10s", "for": "6h"}).config
COUNTED = asked(BYTES, {"every": "10s", "for": "6h"}).config


@dataclass
class Log:
    """A log of one partition with records of these times, epoch ms. first: the offset of the first one."""

    times: list[int]
    first: int = 0

    async def offsets_at(self, epoch_ms: int, partitions: Iterable[int]) -> dict[int, int]:
        found = [self.first + place for place, at in enumerate(self.times) if at >= epoch_ms]
        return dict.fromkeys(partitions, min(found, default=self.first + len(self.times)))

    async def start_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, self.first)


async def begun(log: Log, wanted: Config, held: Config | None = None, *, away: bool = False) -> Slot:
    """The slot of a live fold under `held` when it is known from where the log is read for what it lacks. away: the feed, by then."""
    asked_feed = 0

    async def seed(fold: Fold, partition: int) -> None:
        nonlocal asked_feed
        asked_feed += 1
        if away and asked_feed > 1:
            raise RedisConnectionError("away")

    slot = Slot(0, Fold(held or Config({}, {}), log.first + len(log.times)), "")
    catch_up = CatchUp(KafkaSettings(), "log", {0: slot}, seed)
    await catch_up.plan(wanted)
    await catch_up.stop()
    await catch_up._begin_reading(cast("Any", log), wanted)
    return slot


def minutes_ago(*minutes: int) -> list[int]:
    now = int(time.time() * 1000)
    return [now - ago * MINUTE_MS for ago in minutes]


def told(slot: Slot) -> tuple[Config, int, Config]:
    assert slot.catching is not None and slot.begun
    return slot.catching.config, slot.catching.offset, slot.target


@pytest.mark.parametrize("levels", [LEVELS, COUNTED])
async def test_of_a_young_log_fine_and_coarse_cells_are_made_in_one_pass(levels: Config) -> None:
    assert told(await begun(Log(minutes_ago(10, 5, 1)), levels)) == (levels, 0, levels)


@pytest.mark.parametrize("levels", [LEVELS, COUNTED])
async def test_of_a_log_that_reaches_further_back_fine_cells_are_made_first(levels: Config) -> None:
    assert told(await begun(Log(minutes_ago(200, 100, 5, 1)), levels)) == (sampled(levels), 2, sampled(levels))


async def test_a_log_that_has_dropped_what_is_older_is_young() -> None:
    assert told(await begun(Log(minutes_ago(10, 5, 1), first=70), LEVELS)) == (LEVELS, 70, LEVELS)


async def test_what_is_asked_for_beside_what_is_there_is_made_in_one_pass_too() -> None:
    other = config(view("load", "p50", by=["host"]))
    both = Config(LEVELS.selections | other.selections, LEVELS.retentions | other.retentions)
    assert told(await begun(Log(minutes_ago(10, 5)), both, other)) == (LEVELS, 0, both)


async def test_where_counters_cannot_be_asked_for_again_it_goes_on_in_two_passes() -> None:
    assert told(await begun(Log(minutes_ago(10, 5)), COUNTED, away=True)) == (sampled(COUNTED), 0, sampled(COUNTED))


async def test_a_pass_over_everything_goes_on_when_it_is_planned_again() -> None:
    slot = await begun(Log(minutes_ago(10, 5)), LEVELS)
    under_way = slot.catching
    again = CatchUp(KafkaSettings(), "log", {0: slot}, cast("Any", None))
    await again.plan(LEVELS)
    await again.stop()
    assert slot.catching is under_way and slot.begun and slot.target == LEVELS


def test_all_that_is_lacking_holds_what_is_rolled_up_and_what_it_is_rolled_up_from() -> None:
    assert lacking(Config({}, {}), LEVELS) == sampled(LEVELS)
    assert all_lacking(Config({}, {}), LEVELS) == LEVELS
    assert lacking(sampled(LEVELS), LEVELS) == all_lacking(sampled(LEVELS), LEVELS) == LEVELS
    assert all_lacking(LEVELS, LEVELS) == Config({}, {})


async def test_a_fold_from_which_the_live_one_draws_away_is_read_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = 0.0, []

    @contextlib.asynccontextmanager
    async def working(pause: float) -> AsyncIterator[None]:
        nonlocal now
        pauses.append(pause)
        now += HEADWAY_S
        yield

    rests = Rests()
    monkeypatch.setattr(rests, "working", working)
    live, fold = Fold(Config({}, {}), 0), Fold(sampled(LEVELS), 0)
    slot = Slot(0, live, "", catching=fold, begun=True)
    catch_up, headway = CatchUp(KafkaSettings(), "log", {0: slot}, cast("Any", None), rests), Headway(lambda: now)
    for offset, behind in enumerate((1_000, 700, 400, 100, 100, 90)):
        live.offset = offset + behind
        reader = AsyncMock(poll=AsyncMock(return_value=records(write([gauge(1)]), first=offset)), position=lambda _: 0)
        await catch_up._read_on(reader, 0, fold, headway)
    assert fold.offset == 6
    assert pauses == [PAUSE, PAUSE, PAUSE, PAUSE, 0, 0]
