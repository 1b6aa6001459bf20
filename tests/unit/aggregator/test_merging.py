"""Merging over a real Valkey: what happens to views when replies are lost, feeds forget, and others have been there."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from services.aggregator import merging as merging_module
from services.aggregator.fold import Fold
from services.aggregator.merging import Merging
from services.aggregator.metrics import WATERMARK_DELAY_SECONDS
from services.aggregator.sweeping import EXPIRE_MS
from services.contract.history import Cells, Change, NewGroup, ViewCommit, decode_change, pack_rows
from services.contract.names import view_channel, view_key
from services.contract.partials import Config, Entry
from services.contract.terms import Term, Terms
from services.contract.views import View
from services.transport import history, lineages, partials
from services.transport.feed import connect
from services.transport.partials import Commit, RefusedError
from services.transport.settings import RedisSettings
from tests.servers import Valkey
from tests.unit.aggregator.logs import DAY, Sample, config, records, view, views, write

LINEAGE = [("log", 2)]
HOSTS = view(fn="max", by=["host"], window="1h", every="1h")
OTHER = view(fn="p50", window="1h", every="1h")
ALL = {item.id: (item, 3_600_000) for item in (HOSTS, OTHER)}
ONE = {HOSTS.id: ALL[HOSTS.id]}


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    connected = connect(RedisSettings(url=valkey.url))
    await connected.flushall()
    yield connected
    await connected.aclose()


class Partition:
    """A fold that commits to Redis."""

    def __init__(self, redis: Redis, number: int = 0, settings: Config | None = None, held: str = "", log: str = "log") -> None:
        self.redis, self.number, self.held, self.name, self.stamp = redis, number, held, log, ""
        self.next_stamp: Callable[[], str] = lambda: secrets.token_hex(4)
        self.fold = Fold(settings or config(HOSTS, OTHER), 0)
        self.log: list[bytes] = []

    async def write(self, *samples: Sample) -> Entry:
        """Fold samples of now, and commit them; the entry, as the process that committed gets it."""
        if samples:
            now = await self.redis.time()
            shift = (now[0] - 1_763_791_200) * 1_000
            moved = [(metric, labels, at + shift, value, kind) for metric, labels, at, value, kind in samples]
            self.log.append(write(moved, len(self.log), ingest=shift))
            self.fold.apply(records(self.log[-1], first=self.fold.offset))
        return await self.commit()

    async def commit(self) -> Entry:
        changes = self.fold.changes()
        step = Commit(
            self.held, self.fold.config, changes.from_, changes.to, changes.state, changes.pages, changes.keys, changes.gone,
            changes.reset, changes.notes, self.stamp, self.next_stamp(), changes.sampled,
        )  # fmt: skip
        await partials.commit(self.redis, self.name, self.number, step)
        self.stamp = step.stamp
        self.fold.committed(changes)
        self.held = self.fold.config.digest
        return step.entry()


@pytest.fixture
async def partitions(redis: Redis) -> Sequence[Partition]:
    """Both partitions of a log, with nothing in them yet."""
    both = [Partition(redis, number) for number in range(2)]
    for item in both:
        await item.write()
    return both


def load(value: float, host: str = "a") -> Sample:
    return "load", {"host": host}, 0, value, 0


async def merging(redis: Redis, wanted: Mapping[str, tuple[View, int]] = ALL, owned: Sequence[int] = (0, 1)) -> Merging:
    found = Merging(redis, 250, 1_000)
    await found.want(LINEAGE, owned, wanted, ALL)
    await turn(found)
    return found


async def turn(merging: Merging, *entries: tuple[int, Entry | None]) -> None:
    await merging.follow(entries)
    await merging.step({0: True, 1: True})


async def shown(redis: Redis, wanted: View = HOSTS) -> dict[str, float]:
    """The newest value of each host."""
    held = await history.read_view(redis, wanted.id)
    found: dict[str, float] = {}
    for _, rows in sorted(held.rows.items()) if held else ():
        found |= {held.groups[group].get("host", ""): value for group, _, value in rows.tolist() if held}
    return found


async def test_a_commit_of_this_process_is_merged(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))), (1, await partitions[1].write(load(2, "b"))))
    assert await shown(redis) == {"a": 1, "b": 2}


async def test_who_merges_nothing_any_more_closes_nothing_late(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))))
    WATERMARK_DELAY_SECONDS.set(40)
    await mine.want(LINEAGE, [], {}, ALL)
    await turn(mine)
    assert REGISTRY.get_sample_value("tideboard_aggregator_watermark_delay_seconds") == 0


async def test_commits_of_others_are_followed_from_the_moment_that_they_are_wanted(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    mine = Merging(redis, 250, 1_000)
    await mine.want(LINEAGE, [0], ALL, ALL)
    await partitions[1].write(load(1, "b"))  # before the first look at the other's log
    await turn(mine)
    assert await shown(redis) == {"b": 1}
    await partitions[1].write(load(5, "b"))
    await turn(mine)
    assert await shown(redis) == {"b": 5}


async def test_a_view_begins_when_all_partitions_are_folded(redis: Redis) -> None:
    first = Partition(redis, 0)
    mine = await merging(redis)
    await turn(mine, (0, await first.write(load(1))))
    assert await shown(redis) == {}
    await Partition(redis, 1).write()
    await turn(mine)
    assert await shown(redis) == {"a": 1}


async def test_a_partition_that_was_refused_is_read_again(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    await partitions[0].write(load(1))  # somebody else's, or one whose reply was lost
    await turn(mine)
    assert await shown(redis) == {}
    await turn(mine, (0, None))
    assert await shown(redis) == {"a": 1}


async def test_what_is_stored_of_a_log_that_is_over_is_found_until_its_folds_are_closed(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    """Its owner may come to store the last of it when the views of the next log have long begun."""
    next_log = [Partition(redis, number, log="next") for number in range(2)]
    for item in next_log:
        await item.write()
    mine = Merging(redis, 250, 1_000)
    await mine.want([*LINEAGE, ("next", 2)], [0, 1], ALL, ALL)
    await turn(mine, (0, await next_log[0].write(load(1))))
    assert await shown(redis) == {"a": 1}
    await partitions[0].write(load(7))
    await turn(mine)
    assert await shown(redis) == {"a": 7}
    for item in partitions:
        item.next_stamp = lineages.last_stamp
    await partitions[0].write(load(8))
    await turn(mine)
    assert await shown(redis) == {"a": 8}


async def test_a_fold_that_was_closed_before_anything_was_stored_takes_nothing(redis: Redis) -> None:
    assert await lineages.close_nothing(redis, "log", 0)
    with pytest.raises(RefusedError):
        await Partition(redis, 0).write(load(1))
    await Partition(redis, 1).write(load(1))
    assert not await lineages.close_nothing(redis, "log", 1)


async def test_what_was_committed_and_not_told_is_found_after_a_doubt(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    await partitions[0].write(load(1))
    mine.doubt()
    await turn(mine)
    assert await shown(redis) == {"a": 1}


async def test_groups_that_a_fold_numbers_anew_keep_their_values(redis: Redis, partitions: Sequence[Partition]) -> None:
    """As when a window is made longer: the selection is folded again from further back, and another group comes first."""
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1, "a"), load(2, "b"))))
    again = Fold(config(HOSTS, OTHER, retention_ms=172_800_000), -1)
    again.apply(records(write([load(9, "b")], instance=1), *partitions[0].log, first=-1))
    partitions[0].fold.join(again, again.config)
    await turn(mine, (0, await partitions[0].commit()), (0, await partitions[0].write(load(20, "b"))))
    assert await shown(redis) == {"a": 1, "b": 20}


async def test_a_view_that_another_commits_to_goes_on_from_there(redis: Redis, partitions: Sequence[Partition]) -> None:
    one, other = await merging(redis), await merging(redis)
    entry = await partitions[0].write(load(1))
    await turn(one, (0, entry))
    await turn(other, (0, entry))  # refused: reads, and finds that nothing is to be done
    entry = await partitions[0].write(load(2))
    await turn(other, (0, entry))
    await turn(other)
    assert await shown(redis) == {"a": 2}
    held = await history.read_view(redis, HOSTS.id)
    await turn(one, (0, entry))
    await turn(one)
    again = await history.read_view(redis, HOSTS.id)
    assert held is not None
    assert again is not None
    assert (again.epoch, again.version) == (held.epoch, held.version)


async def test_one_that_slept_does_not_put_back_what_others_have_merged_since(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    slept = await merging(redis)
    await turn(slept, (0, await partitions[0].write(load(1))))
    other = await merging(redis)
    await turn(other, (0, await partitions[0].write(load(5))))
    versions = [await _version(redis)]
    entry = await partitions[1].write(load(3, "b"))
    await turn(slept, (1, entry))  # refused, and its partition 0 is behind what the view was made of
    await turn(slept)
    versions.append(await _version(redis))
    assert await shown(redis) == {"a": 5, "b": 3}
    held = await history.read_view(redis, HOSTS.id, versions[0])
    assert held is not None
    assert sum(len(rows) for rows in held.rows.values()) == 1  # only b was written


async def _version(redis: Redis) -> int:
    held = await history.read_view(redis, HOSTS.id)
    assert held is not None
    return held.version


async def test_one_that_was_stopped_before_its_commit_does_not_give_it_a_version_from_before(
    redis: Redis, partitions: Sequence[Partition], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have published since, on a feed that has lost it: then nothing compares, and only time tells."""
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))))
    before, slept_ms, compute = await _version(redis), 0, merging_module._compute

    def stopped(*args: Any) -> Any:
        nonlocal slept_ms
        slept_ms = 7_000
        return compute(*args)

    clock = SimpleNamespace(time=lambda: time.time() + slept_ms / 1000, perf_counter=time.perf_counter)
    monkeypatch.setattr(merging_module, "time", clock)
    monkeypatch.setattr(merging_module, "_compute", stopped)
    await turn(mine, (0, await partitions[0].write(load(5))))
    assert await _version(redis) == before
    await turn(mine)
    assert await _version(redis) >= (time.time() + 6) * 1_000_000
    assert await shown(redis) == {"a": 5}


async def test_one_that_is_only_slow_commits_every_other_step(
    redis: Redis, partitions: Sequence[Partition], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, slow_ms, compute = await merging(redis), 0, merging_module._compute

    def slow(*args: Any) -> Any:
        nonlocal slow_ms
        slow_ms += 3_000
        return compute(*args)

    clock = SimpleNamespace(time=lambda: time.time() + slow_ms / 1000, perf_counter=time.perf_counter)
    monkeypatch.setattr(merging_module, "time", clock)
    monkeypatch.setattr(merging_module, "_compute", slow)
    await turn(mine, (0, await partitions[0].write(load(5))))
    await turn(mine)
    assert await shown(redis) == {"a": 5}


async def test_a_feed_that_lost_versions_of_a_view_goes_on_in_another_epoch(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    """A reader of a lost version, 5, is not told of a cell that comes out as in the version before, 1."""
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))))
    held = await history.read_view(redis, HOSTS.id)
    behind = {key: await redis.dump(key) for key in await redis.keys(view_key(HOSTS.id, "*"))}
    await turn(mine, (0, await partitions[0].write(load(5))))
    assert await shown(redis) == {"a": 5}
    for key, content in behind.items():
        await redis.restore(key, 0, content or b"", replace=True)
    entry = await partitions[1].write(load(2, "b"))
    await turn(mine, (1, entry))  # refused
    await turn(mine)
    again = await history.read_view(redis, HOSTS.id)
    assert held is not None
    assert again is not None
    assert again.epoch != held.epoch
    assert await shown(redis) == {"a": 5, "b": 2}


async def versions(redis: Redis) -> tuple[int, Terms]:
    held = await history.read_view(redis, HOSTS.id)
    assert held is not None
    return held.version, held.terms


async def test_each_owner_of_a_view_writes_in_a_term_of_its_own(redis: Redis, partitions: Sequence[Partition]) -> None:
    one, other = await merging(redis), await merging(redis)
    entry = await partitions[0].write(load(1))
    await turn(one, (0, entry))
    first, begun = await versions(redis)
    entries = [entry, await partitions[0].write(load(2))]
    await turn(one, (0, entries[1]))
    last, kept = await versions(redis)
    assert kept == begun == (Term(begun[0].first),)
    assert begun[0].first <= first < last
    entries.append(await partitions[0].write(load(3)))
    await turn(other, *((0, item) for item in entries))  # refused: reads
    await turn(other)
    newest, kept = await versions(redis)
    assert kept == (Term(begun[0].first, last), Term(newest))


async def test_what_a_commit_wrote_whose_answer_was_lost_is_not_in_the_term_of_what_comes_when_the_feed_has_lost_it(
    redis: Redis, partitions: Sequence[Partition], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await merging(redis, ONE)
    await turn(mine, (0, await partitions[0].write(load(1))))
    first, begun = await versions(redis)
    behind = {key: await redis.dump(key) for key in await redis.keys(view_key(HOSTS.id, "*"))}

    async def unanswered(redis: Redis, steps: Sequence[ViewCommit]) -> list[bool]:
        await commit_all(redis, steps)
        raise RedisTimeoutError

    commit_all = history.commit_all
    monkeypatch.setattr(history, "commit_all", unanswered)
    with pytest.raises(RedisTimeoutError):
        await turn(mine, (0, await partitions[0].write(load(5))))
    monkeypatch.setattr(history, "commit_all", commit_all)
    lost = await _version(redis)
    for key, content in behind.items():
        await redis.restore(key, 0, content or b"", replace=True)
    await turn(mine, (0, await partitions[0].write(load(7))))
    newest, kept = await versions(redis)
    assert kept == (Term(begun[0].first, first), Term(newest))
    assert first < lost < newest
    assert await shown(redis) == {"a": 7}


async def test_a_feed_that_lost_everything_gets_its_views_back_in_another_epoch(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))))
    before = await history.read_view(redis, HOSTS.id)
    await redis.flushall()
    again = Partition(redis, 0)
    await turn(mine, (0, await again.write(load(1), load(2, "b"))))
    await Partition(redis, 1).write()
    await turn(mine, (1, None))
    await turn(mine)
    await turn(mine)
    after = await history.read_view(redis, HOSTS.id)
    assert await shown(redis) == {"a": 1, "b": 2}
    assert before is not None
    assert after is not None
    assert (after.epoch == before.epoch, after.version > before.version) == (False, True)


# Views that come and go


async def test_views_that_do_not_change_are_written_again_when_the_feed_has_lost_them(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    """Nobody writes to them for long, where sources are silent or their buckets are long: what shows the loss is that folds were lost."""
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))), (1, await partitions[1].write(load(2, "b"))))
    assert await shown(redis) == {"a": 1, "b": 2}
    await redis.flushall()
    await Partition(redis, 0).write(load(1))
    await Partition(redis, 1).write(load(2, "b"))
    await turn(mine, (0, None), (1, None))
    await turn(mine)
    assert await shown(redis) == {"a": 1, "b": 2}


async def lives(redis: Redis, wanted: View) -> int:
    """-1: for ever; else ms that it has left."""
    left: int = await redis.pttl(view_key(wanted.id, "meta"))
    return left


async def test_a_view_that_another_merges_from_now_on_does_not_expire(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))))
    await mine.want(LINEAGE, [0, 1], ONE, ALL)
    assert await lives(redis, OTHER) == -1


async def test_a_view_that_nobody_shows_expires_and_is_kept_when_it_comes_back(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))))
    await mine.want(LINEAGE, [0, 1], ONE, ONE)
    assert 0 < await lives(redis, OTHER) <= EXPIRE_MS
    await mine.want(LINEAGE, [0, 1], ALL, ALL)
    assert await lives(redis, OTHER) == -1


async def test_views_that_stay_are_neither_read_nor_computed_again_when_another_comes(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [Partition(redis, number, config(HOSTS)) for number in range(2)]
    for item in both:
        await item.write()
    mine = await merging(redis, ONE)
    await turn(mine, (0, await both[0].write(load(1))))
    read: list[object] = []

    async def counted(
        redis: Redis, lineage: str, partition: int, selections: Sequence[str] | None = None, *rest: Any, **more: Any
    ) -> object:
        read.append(selections)
        return await found(redis, lineage, partition, selections, *rest, **more)

    found = partials.load
    monkeypatch.setattr(partials, "load", counted)
    await mine.want(LINEAGE, [0, 1], ALL, ALL)
    await turn(mine, (1, await both[1].write(load(2, "b"))))
    assert await shown(redis) == {"a": 1, "b": 2}, "they go on meanwhile"
    for item in both:
        part = Fold(config(OTHER), 0)
        part.apply(records(*item.log))
        item.fold.join(part, config(HOSTS, OTHER))
        await turn(mine, (item.number, await item.commit()))
    assert list((await shown(redis, OTHER)).values()) == [pytest.approx(1.5, rel=0.5)]
    assert read == []
    held = await history.read_view(redis, HOSTS.id)
    await turn(mine)
    again = await history.read_view(redis, HOSTS.id)
    assert held is not None and again is not None and held.version == again.version
    await mine.want(LINEAGE, [0, 1], ONE, ONE)
    await mine.want(LINEAGE, [0, 1], ALL, ALL)
    await turn(mine)
    assert read == [[OTHER.inputs[0].selection.id]] * 2, "what is merged again is read, and nothing else"


async def test_what_began_anew_in_another_process_is_read_alone(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [Partition(redis, number, config(HOSTS)) for number in range(2)]
    for item in both:
        await item.write()
    mine = await merging(redis, ALL, [0])
    await both[1].write(load(1, "b"))
    await turn(mine)
    read: list[object] = []

    async def counted(
        redis: Redis, lineage: str, partition: int, selections: Sequence[str] | None = None, *rest: Any, **more: Any
    ) -> object:
        read.append((partition, selections))
        return await found(redis, lineage, partition, selections, *rest, **more)

    found = partials.load
    monkeypatch.setattr(partials, "load", counted)
    for item in both:
        part = Fold(config(OTHER), 0)
        part.apply(records(*item.log))
        item.fold.join(part, config(HOSTS, OTHER))
        entry = await item.commit()
        await turn(mine, *([(0, entry)] if item.number == 0 else []))
    assert read == [(1, [OTHER.inputs[0].selection.id])]
    assert (await shown(redis), list(await shown(redis, OTHER))) == ({"b": 1}, [""])


async def test_a_view_stands_still_while_a_partition_does_not_fold_what_it_is_made_of(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    """As where the aggregator of that partition has taken up another dashboard, and this one has not yet."""
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))), (1, await partitions[1].write(load(2, "b"))))
    one = partitions[0]
    one.fold.join(Fold(Config({}, {}), one.fold.offset), config(OTHER))
    await turn(mine, (0, await one.commit()), (1, await partitions[1].write(load(3, "b"))))
    assert await shown(redis) == {"a": 1, "b": 2}
    back = Fold(config(HOSTS), 0)
    back.apply(records(*one.log))
    one.fold.join(back, config(HOSTS, OTHER))
    await turn(mine, (0, await one.commit()))
    assert await shown(redis) == {"a": 1, "b": 3}


# Where folds are stored


async def test_a_fold_that_is_not_where_it_was_built_from_is_refused(redis: Redis, partitions: Sequence[Partition]) -> None:
    zombie = Partition(redis, 0, held=partitions[0].held)
    await partitions[0].write(load(1))
    with pytest.raises(RefusedError):
        await zombie.write(load(2))
    with pytest.raises(RefusedError):
        await Partition(redis, 0).write(load(2))  # nor does one that believes that nothing lies there
    stored = await partials.load(redis, "log", 0)
    assert stored is not None
    assert stored.offset == 1


async def test_a_fold_under_other_dashboards_is_refused(redis: Redis, partitions: Sequence[Partition]) -> None:
    yesterday = Partition(redis, 0, config(HOSTS), config(HOSTS).digest)
    with pytest.raises(RefusedError):
        await yesterday.write(load(2))


async def test_a_fold_that_is_loaded_is_what_was_stored(redis: Redis) -> None:
    asked = views({"metric": "load", "by": ["host"], "fn": ["max", "p50"]}, {"metric": "load", "fn": "rate"})
    written = Partition(redis, 0, config(*asked))
    await written.write(*(load(i, f"h{i}") for i in range(100)), ("load", {}, 0, 5.0, 1), ("load", {}, 10, 7.0, 1))
    await written.write(load(1, "h7"))
    stored = await partials.load(redis, "log", 0)
    assert stored is not None
    assert (stored.offset, stored.config) == (2, written.fold.config)
    again = Fold.load(stored)
    assert again.counters.last() == written.fold.counters.last()
    for name, cells in written.fold.cells.items():
        assert again.cells[name].keys == cells.keys
        for at in cells.cells.pages():
            bucket, page = at
            assert again.cells[name].cells.blobs(bucket, [page]) == cells.cells.blobs(bucket, [page])


async def test_nothing_is_loaded_where_nothing_lies(redis: Redis) -> None:
    assert await partials.load(redis, "log", 0) is None
    assert await partials.positions(redis, "log", [0, 1]) == [None, None]


async def test_positions_are_offset_and_configuration(redis: Redis, partitions: Sequence[Partition]) -> None:
    await partitions[1].write(load(1))
    digest = partitions[0].held
    assert await partials.positions(redis, "log", [0, 1, 2]) == [
        (0, digest, partitions[0].stamp),
        (1, digest, partitions[1].stamp),
        None,
    ]


async def test_the_log_of_a_fold_has_bounds(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partials, "LOG_BYTES", 1_000)
    written = Partition(redis)
    for i in range(400):
        await written.write(*(load(i, f"h{host}") for host in range(32)))
    assert 8 <= await redis.xlen("{tb:log:0}:log") < 100


async def test_an_epoch_that_begins_anew_leaves_nothing_of_the_one_before(redis: Redis) -> None:
    def step(held: tuple[str, int], epoch: str, version: int, bucket: int, host: str) -> ViewCommit:
        change = Change(1, epoch, held[1], version, 0, 0, 0, [NewGroup(0, {"host": host})], [Cells(bucket, [0], [1.0])])
        numbers, values = np.zeros(1, np.uint32), np.ones(1)
        blob = pack_rows(numbers, np.full(1, version, np.int64), values)
        return ViewCommit("v", held, 1_000, change, {bucket: blob}, [], {})

    assert await history.commit_all(redis, [step(("", 0), "e1", 10, 1_000, "old")]) == [True]
    assert await history.commit_all(redis, [step(("e1", 9), "e2", 20, 2_000, "new")]) == [False]
    assert await history.commit_all(redis, [step(("e1", 10), "e2", 20, 2_000, "new")]) == [True]
    found = await history.read_view(redis, "v")
    assert found is not None
    assert (found.epoch, found.version, found.groups, list(found.rows)) == ("e2", 20, {0: {"host": "new"}}, [2_000])
    changed = await history.read_view(redis, "v", 0)
    assert changed is not None and list(changed.rows) == [2_000]


async def test_how_new_samples_are_is_known_of_the_version_that_it_was_said_of(redis: Redis) -> None:
    def step(held: int, version: int, sampled: int) -> ViewCommit:
        change = Change(1, "e", held, version, 0, 0, 0, [], [], sampled=sampled)
        return ViewCommit("v", ("e", held) if held else ("", 0), 1_000, change, {}, [], {})

    async def sampled() -> int:
        held = await history.read_view(redis, "v")
        assert held is not None
        return held.sampled

    for held, version, said, expected in ((0, 10, 5, 5), (10, 20, 7, 7), (20, 20, 8, 8), (20, 30, 0, 0), (30, 40, 9, 9)):
        assert await history.commit_all(redis, [step(held, version, said)]) == [True]
        assert await sampled() == expected, "a version that does not know it leaves it as it was, of another version"


async def test_how_new_samples_are_is_in_the_history_and_goes_on_with_another_merge(
    redis: Redis, partitions: Sequence[Partition]
) -> None:
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))), (1, await partitions[1].write(load(1, "b"))))
    newest = max(partition.fold.max_time for partition in partitions)
    for wanted in (HOSTS, OTHER):
        held = await history.read_view(redis, wanted.id)
        assert held is not None and held.sampled == newest
    other = await merging(redis)  # reads the partitions whole
    again = await partitions[0].write(load(2))
    await turn(other, (0, again))
    held = await history.read_view(redis, HOSTS.id)
    assert held is not None and held.sampled == partitions[0].fold.max_time >= newest


async def test_what_partitions_note_is_in_the_history_and_on_the_channel(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    subscription = redis.pubsub()
    await subscription.subscribe(view_channel(HOSTS.id))
    await subscription.get_message(timeout=1.0)  # that it has
    late = ("load", {"host": "b"}, -2 * DAY, 1.0, 0)
    await turn(mine, (0, await partitions[0].write(load(1))), (1, await partitions[1].write(late, late, load(1, "b"))))
    other = await merging(redis, ONE)  # reads the partitions whole
    for merge in (mine, other):
        await turn(merge)
    held = await history.read_view(redis, HOSTS.id)
    assert held is not None and held.notes.late == 2
    heard = []
    while (message := await subscription.get_message(ignore_subscribe_messages=True, timeout=0.5)) is not None:
        heard.append(decode_change(message["data"]).notes)
    await subscription.aclose()  # type: ignore[no-untyped-call]
    assert [notes.late for notes in heard if notes is not None] == [2]


# When a view is filled


async def filled(redis: Redis, wanted: View = HOSTS) -> int:
    """The time for which the history of a view says that it is, ms."""
    held = await history.read_view(redis, wanted.id)
    return held.filled if held else 0


def longer(wanted: View = HOSTS, window_ms: int = 2 * DAY) -> dict[str, tuple[View, int]]:
    return {wanted.id: (wanted, window_ms)}


async def test_a_view_is_filled_when_all_partitions_are_folded_to_their_ends(redis: Redis) -> None:
    first, second = Partition(redis, 0), Partition(redis, 1)
    mine = await merging(redis)
    await turn(mine, (0, await first.write(load(1))))
    assert await filled(redis) == 0
    entry = await second.write()
    await mine.follow([(1, entry)])
    await mine.step({0: True, 1: False})  # it has not been folded to its end by far
    assert (await filled(redis), await shown(redis)) == (0, {"a": 1})
    await turn(mine)
    assert await filled(redis) == 3_600_000


async def test_a_view_without_any_cell_is_filled_too(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    assert await filled(redis) == 3_600_000
    await turn(mine, (0, await partitions[0].write(load(1))))
    assert await shown(redis) == {"a": 1}


async def test_a_view_is_not_filled_while_older_buckets_are_to_be_computed(redis: Redis) -> None:
    every_second = view(fn="max", by=["host"], window="10m", every="1s")
    partition = Partition(redis, 0, config(every_second))
    await partition.write(*(("load", {"host": "a"}, at * 1_000, float(at), 0) for at in range(-300, 0)))
    found = Merging(redis, 250, 1_000)
    wanted = {every_second.id: (every_second, 600_000)}
    await found.want([("log", 1)], [0], wanted, wanted)
    await found.follow([])
    await found.step({0: True})
    said = []
    while found.behind:
        said.append(await filled(redis, every_second))
        await found.go_on(0.0)
    assert set(said) == {0}
    assert await filled(redis, every_second) == 600_000


async def test_a_longer_window_is_filled_when_the_folds_have_it(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    await turn(mine, (0, await partitions[0].write(load(1))))
    await mine.want(LINEAGE, [0, 1], longer(), ALL)
    await turn(mine)
    assert await filled(redis) == 3_600_000
    for item in partitions:
        again = Fold(config(HOSTS, OTHER, retention_ms=2 * DAY), 0)
        again.apply(records(*item.log))
        item.fold.join(again, again.config)
        await turn(mine, (item.number, await item.commit()))
    assert await filled(redis) == 2 * DAY
    await mine.want(LINEAGE, [0, 1], ALL, ALL)
    await turn(mine)
    assert await filled(redis) == 3_600_000, "what is older was dropped"


async def test_a_commit_that_was_refused_does_not_make_a_view_filled(redis: Redis, partitions: Sequence[Partition]) -> None:
    mine = await merging(redis)
    await redis.hset(view_key(HOSTS.id, "meta"), mapping={"epoch": "another", "version": 5})
    entry = await partitions[0].write(load(1))
    await turn(mine, (0, entry))  # refused
    assert (await filled(redis), await shown(redis)) == (0, {})
    await turn(mine)
    assert (await filled(redis), await shown(redis)) == (3_600_000, {"a": 1})


async def test_a_view_that_begins_shows_its_newest_buckets_first_and_holds_up_no_step(redis: Redis) -> None:
    every_second = view(fn="max", by=["host"], window="10m", every="1s")
    partition = Partition(redis, 0, config(HOSTS, every_second))
    samples = [("load", {"host": "a"}, at * 1_000, float(at), 0) for at in range(-300, 0)]
    await partition.write(load(1.0), *samples)
    found = Merging(redis, 250, 1_000)
    wanted = {item.id: (item, 3_600_000) for item in (HOSTS, every_second)}
    await found.want([("log", 1)], [0], wanted, wanted)
    await turn(found)
    assert await shown(redis) == {"a": 1.0}
    assert await history.read_view(redis, every_second.id) is None
    await found.go_on(0.0)
    first = await history.read_view(redis, every_second.id)
    assert first is not None
    while found.behind:
        await found.go_on(0.001)
    filled = await history.read_view(redis, every_second.id)
    assert filled is not None
    assert list(filled.rows)[-len(first.rows) :] == list(first.rows)
    assert len(filled.rows) > 200
