"""Folding's own decisions: when a fold that caught up joins, and what is to be stored."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from services.aggregator.catchup import Slot, _cut, begin, first_time
from services.aggregator.fold import Fold
from services.aggregator.folding import MAX_DIRTY_PAGES, Folding
from services.contract.names import fold_key
from services.contract.partials import Config
from services.transport import partials
from services.transport.feed import connect
from services.transport.log import LogError, Record
from services.transport.settings import KafkaSettings, RedisSettings
from tests.servers import Valkey
from tests.unit.aggregator.logs import config, counter, gauge, view, write

OLD, NEW, OTHER = view(fn="max", by=["host"]), view(fn="p50", by=["host"]), view(fn="sum", by=["host"])
BOTH = config(OLD, NEW)


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    connected = connect(RedisSettings(url=valkey.url))
    await connected.flushall()
    yield connected
    await connected.aclose()


@pytest.fixture
def folding(redis: Redis) -> Folding:
    """It owns one partition, in which nothing is asked for but OLD; NEW is wanted. The log is not needed."""
    found = Folding(redis, KafkaSettings(), "log", 1, [])
    found._wanted = BOTH
    found.slots[0] = Slot(0, Fold(config(OLD), 0), "")
    return found


def log(*offsets: int) -> list[Record]:
    return [Record(0, at, 0, write([gauge(float(at), host="a")], at)) for at in offsets]


def catching(folding: Folding, *offsets: int) -> Slot:
    """The fold of the new selection has read so far."""
    slot = folding.slots[0]
    slot.catching, slot.target = Fold(config(NEW), 0), BOTH
    slot.catching.apply(log(*offsets))
    slot.caught_up = True
    return slot


@pytest.mark.parametrize(
    ("ahead", "polls"),
    [
        ((0, 1, 2), [(0, 1, 2, 3, 4)]),
        ((0, 1, 2), [(0,), (1,), (2,), (3, 4)]),
        ((0, 1, 2), [(0, 1), (2, 3, 4)]),
        ((), [(0, 1, 2, 3, 4)]),
        ((0, 1, 2, 3, 4), [(0, 1, 2), (3, 4)]),
    ],
)
def test_a_fold_that_caught_up_joins_where_it_stands(
    folding: Folding, ahead: tuple[int, ...], polls: list[tuple[int, ...]]
) -> None:
    slot = catching(folding, *ahead)
    for offsets in polls:
        folding._feed(slot, log(*offsets))
    assert (slot.catching, slot.fold.offset, slot.fold.config) == (None, 5, BOTH)
    direct = Fold(BOTH, 0)
    direct.apply(log(0, 1, 2, 3, 4))
    assert dict(slot.fold.changes().pages) == dict(direct.changes().pages)


@pytest.mark.parametrize(("offset", "grown"), [(0, 50.0), (7, 0.0)])
def test_only_a_fold_that_begins_where_its_log_does_goes_on_from_counters_of_the_log_before(offset: int, grown: float) -> None:
    """Further on, a counter has had samples in this log that are not read: the one before does not say where it stood."""
    asked = config(view("bytes", "increase"))
    before, fold = Fold(asked, 0), Fold(asked, 0)
    before.apply([Record(0, 0, 0, write([counter(100.0)]))])
    for key, last in before.counters.last().items():
        fold.counters.seed(key, last)
    begin(fold, offset, 0)
    fold.apply([Record(0, offset, 0, write([counter(150.0, at=4_000)]))])
    (name,) = asked.selections
    cells = fold.cells[name].cells
    assert sum(float(cells.content(bucket)["sum"].sum()) for bucket, _ in cells.pages()) == grown


def test_offsets_without_a_record_before_the_meeting_do_not_hold_it_up(folding: Folding) -> None:
    """What was to be the next record may be a marker of the log's own."""
    slot = catching(folding)
    assert slot.catching is not None
    slot.catching.offset = 7
    folding._feed(slot, log(0, 1, 2))
    assert slot.catching is not None
    folding._feed(slot, log(7, 8))
    assert (slot.fold.offset, slot.fold.config) == (9, BOTH)


def test_records_without_a_value_at_the_end_are_passed_over(folding: Folding) -> None:
    slot = folding.slots[0]
    folding._feed(slot, log(0, 1), 4)
    assert (slot.fold.offset, slot.fold.changes().to) == (4, 4)
    folding._feed(slot, [], 5)
    folding._feed(slot, log(5), 6)
    assert slot.fold.offset == 6
    direct = Fold(config(OLD), 0)
    direct.apply(log(0, 1, 5))
    assert slot.fold.changes() == direct.changes()


@pytest.mark.parametrize(("meeting", "joined"), [(4, True), (5, True), (6, False)])
def test_a_fold_joins_behind_records_without_a_value(folding: Folding, meeting: int, joined: bool) -> None:
    slot = catching(folding, 0, 1)
    assert slot.catching is not None
    slot.catching.pass_over(meeting)
    folding._feed(slot, log(0, 1), 5)
    assert (slot.catching is None, slot.fold.offset) == (joined, 5)


def test_a_fold_that_has_not_caught_up_waits(folding: Folding) -> None:
    slot = catching(folding, 0)
    slot.caught_up = False
    folding._feed(slot, log(0, 1, 2))
    assert (slot.catching is not None, slot.fold.offset, slot.fold.config) == (True, 3, config(OLD))


async def stored(redis: Redis) -> tuple[int, str]:
    """Offset and configuration of the one partition."""
    ((offset, digest, _),) = [found for found in await partials.positions(redis, "log", [0]) if found]
    return offset, digest


async def test_an_empty_partition_is_stored_once(folding: Folding, redis: Redis) -> None:
    assert folding.dirty
    ((partition, entry),) = await folding.commit()
    assert (partition, entry is not None, folding.dirty) == (0, True, False)
    assert await folding.commit() == []
    assert await stored(redis) == (0, config(OLD).digest)


async def test_what_lies_there_is_not_doubted(folding: Folding) -> None:
    folding._feed(folding.slots[0], log(0))
    await folding.commit()
    await folding.check()
    assert not folding.dirty


async def test_a_feed_that_forgot_an_idle_partition_is_found_out(folding: Folding, redis: Redis) -> None:
    await folding.commit()
    await redis.flushall()
    await folding.check()
    assert folding.dirty  # the next commit is refused, and the partition is folded again from the log


async def test_a_feed_that_lost_a_commit_of_roll_ups_alone_is_found_out(folding: Folding, redis: Redis) -> None:
    """Such a commit stands at the offset of the one before: to a replica that has not got it, the offset says nothing."""
    slot, key = folding.slots[0], fold_key("log", 0, "meta")
    folding._feed(slot, log(0))
    await folding.commit()
    behind: Any = await redis.hgetall(key)
    slot.doubted = True
    await folding.commit()
    await redis.hset(key, mapping=behind)
    await folding.check()
    assert folding.dirty
    assert await folding.commit(last=True) == [(0, None)]


async def test_a_doubt_that_was_none_ends_with_the_next_commit(folding: Folding) -> None:
    await folding.commit()
    folding.slots[0].doubted = True
    ((_, entry),) = await folding.commit()
    assert (entry is not None, folding.dirty) == (True, False)


async def test_what_another_has_stored_of_a_log_that_is_over_stays_as_it_is(folding: Folding, redis: Redis) -> None:
    """Who slept through the end of the log cannot claim its partition again: there is nothing to read it from."""
    another = Folding(redis, KafkaSettings(), "log", 1, [])
    another.slots[0] = Slot(0, Fold(config(OLD), 0), "")
    another._feed(another.slots[0], log(0, 1))
    await another.commit()
    folding._feed(folding.slots[0], log(0))
    assert await folding.commit(last=True) == [(0, None)]
    assert not folding.dirty
    assert await stored(redis) == (2, config(OLD).digest)


async def test_what_is_claimed_anew_is_read_from_where_it_stands_though_the_next_claim_fails(
    folding: Folding, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the records between the stored offset and the reader's would be missing."""
    folding.slots[1] = Slot(1, Fold(config(OLD), 0), "")
    for slot in folding.slots.values():
        folding._feed(slot, log(0, 1))
    folding._assign()
    another = Folding(redis, KafkaSettings(), "log", 2, [])
    another.slots |= {partition: Slot(partition, Fold(config(OLD), 0), "") for partition in (0, 1)}
    await another.commit()

    async def claim(partition: int) -> Slot:
        if partition == 1:
            raise LogError("away")
        return Slot(partition, Fold(config(OLD), 0), config(OLD).digest)

    monkeypatch.setattr(folding, "_claim", claim)
    with pytest.raises(LogError):
        await folding.commit()
    assert (folding.slots[0].fold.offset, folding._reader.position(0)) == (0, 0)


async def test_many_dirty_pages_do_not_wait_for_their_time(folding: Folding) -> None:
    slot = folding.slots[0]
    slot.fold.apply([Record(0, 0, 0, write([gauge(1, at=-60_000 * i) for i in range(MAX_DIRTY_PAGES)]))])
    assert not folding.crowded
    slot.fold.apply([Record(0, 1, 0, write([gauge(1, at=60_000)], 1))])
    assert folding.crowded


def test_the_past_that_is_read_begins_with_the_first_bucket_that_is_shown() -> None:
    """Of a long bucket also what was before the window."""
    short, long = view(fn="max", every="1s"), view(fn="max", every="1h")
    one = first_time(config(short, retention_ms=300_000))
    other = first_time(config(long, retention_ms=300_000))
    assert 3_590_000 < one - other < 3_610_000
    assert first_time(Config({}, {})) > one


@pytest.mark.parametrize(("size", "first"), [(0, 1), (10, 1), (20, 2), (25, 2), (1_000, 3)])
def test_records_of_the_past_are_cut_by_their_bytes(size: int, first: int) -> None:
    given = [Record(0, at, 0, b"." * 10) for at in range(3)]
    assert _cut(given, size) == (given[:first], given[first:])


async def test_what_is_being_folded_from_the_past_goes_on_when_something_else_is_let_go(folding: Folding) -> None:
    slot = folding.slots[0]
    slot.fold = Fold(config(OLD, OTHER), 0)
    await folding._catch_up.plan(config(OLD, OTHER, NEW))
    try:
        assert slot.catching is not None
        slot.begun, under_way = True, slot.catching
        under_way.apply(log(0, 1))
        await folding._catch_up.plan(config(OLD, NEW))
        assert slot.catching is under_way
        assert slot.target == config(OLD, NEW)
        await folding._catch_up.plan(config(OLD, OTHER))
        assert folding.slots[0].catching is None
        await folding._catch_up.plan(config(OLD, NEW))
        assert slot.catching is not None and (slot.catching is under_way, slot.begun, slot.caught_up) == (False, False, False)
    finally:
        await folding._catch_up.stop()


async def test_a_plan_that_failed_is_made_again(folding: Folding, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = folding._catch_up.plan
    tries = iter([RedisConnectionError("away"), None])

    async def plan(wanted: Config) -> None:
        if (error := next(tries)) is not None:
            raise error
        await planned(wanted)

    monkeypatch.setattr(folding._catch_up, "plan", plan)
    folding._wanted = config(OLD)
    with pytest.raises(RedisConnectionError):
        await folding.want([0], BOTH)
    await folding.want([0], BOTH)
    try:
        assert folding.slots[0].catching is not None
    finally:
        await folding.stop()


async def test_work_on_the_past_that_failed_is_told_once_and_begun_again(
    folding: Folding, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0

    async def run(wanted: Config) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RedisConnectionError("away")
        await asyncio.Event().wait()

    async def poll(timeout_ms: int) -> list[Record]:
        return []

    monkeypatch.setattr(folding._catch_up, "_run", run)
    monkeypatch.setattr(folding._reader, "poll", poll)
    folding._wanted = config(OLD)
    await folding.want([0], BOTH)
    await asyncio.sleep(0)
    with pytest.raises(RedisConnectionError):
        await folding.poll(0)
    try:
        await folding.poll(0)
        await asyncio.sleep(0)
        assert runs == 2
        await folding.poll(0)
    finally:
        await folding.stop()


async def test_draining_a_log_into_which_others_keep_writing_ends(folding: Folding, monkeypatch: pytest.MonkeyPatch) -> None:
    """It read on and on, up to a thousand records: ten seconds at a hundred a second, in which nothing was folded."""
    given = iter(range(1_000_000))

    async def poll(timeout_ms: int) -> list[Record]:
        await asyncio.sleep(0.02)
        return log(next(given))

    async def planned() -> None:
        """Nothing is to be caught up with."""

    monkeypatch.setattr(folding, "_plan", planned)
    monkeypatch.setattr(folding._reader, "poll", poll)
    folding._wanted = config(OLD)
    async with asyncio.timeout(5):
        await folding.drain(60)
    assert 5 <= next(given) < 100
