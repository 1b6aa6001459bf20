"""The comparison after a run: every cell of every view, every page of every fold, every subscriber."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from datasketches import frequent_items_error_type, frequent_strings_sketch, hll_sketch
from redis.asyncio import Redis

from services.contract.names import SAMPLES_TOPIC, fold_key
from services.contract.partials import (
    EDGES,
    INCREASE,
    MOMENTS,
    PAGE,
    VARIANCE,
    Config,
    FoldState,
    unpack_bins,
    unpack_images,
    unpack_page,
)
from services.contract.registry import Entry
from services.transport.history import read_view
from services.transport.log import LogError, LogReader
from services.transport.settings import KafkaSettings
from tests import batch_job
from tests.batch_job import PER_LOG
from tests.chaos import reference, wanted
from tests.chaos.admitted import Lists
from tests.chaos.reference import At, Partial

SLACK_MS: Final = 60_000
READ_S: Final = 60.0
OVERFLOWING: Final = ((batch_job.OVERFLOW, "true"),)
ANSWER_S: Final = 5.0

Records = dict[int, list[bytes]]


@dataclass
class Found:
    """What a comparison found. wrong: sentences, one per cell."""

    view_cells: int = 0
    partial_cells: int = 0
    pooled_cells: int = 0  # of groups that are not shown apart
    wrong: list[str] = field(default_factory=list)


async def read_log(bootstrap: str, topic: str = SAMPLES_TOPIC) -> Records:
    """Every record of a topic by partition, with a client that the engine does not use. One that has no value is as one of no bytes here."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        places = sorted(consumer.assignment())
        await consumer.seek_to_beginning(*places)
        found: Records = {place.partition: [] for place in places}

        async def lacks(place: TopicPartition) -> bool:
            end = consumer.highwater(place)
            return end is None or await consumer.position(place) < end

        async with asyncio.timeout(READ_S):
            while any([await lacks(place) for place in places]):
                for place, records in (await consumer.getmany(timeout_ms=200)).items():
                    found[place.partition] += [record.value or b"" for record in records]
        return found
    finally:
        await consumer.stop()


async def log_ends(kafka: KafkaSettings) -> dict[int, int]:
    """Where each partition of the samples topic ends: as answers with records say, for the embedded broker knows it nowhere else."""
    reader = LogReader(replace(kafka, fetch_wait_ms=50))
    try:
        nearly = await reader.end_offsets(range(await reader.partitions()))
        reader.assign({partition: max(end - 1, 0) for partition, end in nearly.items()})
        until = time.monotonic() + ANSWER_S
        while any(reader.highwater(partition) is None for partition in nearly):
            await reader.poll(100)
            if time.monotonic() > until:
                raise LogError("the log does not say where it ends")
        return {partition: reader.highwater(partition) or 0 for partition in nearly}
    finally:
        await reader.stop()


@dataclass
class Job:
    """What must be there. partials: by place of the log, partition and selection; views: by id its bucket's length, its window, and its cells.

    wrong: what is wrong with the samples themselves, whatever lies in Redis.
    """

    logs: Sequence[tuple[str, Records]]
    entries: Sequence[Entry]
    config: Config
    partials: dict[tuple[int, int], dict[str, Mapping[At, Partial]]] = field(default_factory=dict)
    views: dict[str, tuple[int, int, Mapping[Any, Any]]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


async def expected(redis: Redis, logs: Sequence[tuple[str, Records]], entries: Sequence[Entry]) -> Job:
    """The batch job over logs (lineage, records) in their order. Only what a log's folds reached counts of one that is over."""
    kept = [log for _, log in logs]
    for i, (lineage, log) in enumerate(logs[:-1]):
        ends = [await _offset(redis, lineage, partition) for partition in sorted(log)]
        kept[i] = {partition: log[partition][:end] for partition, end in zip(sorted(log), ends, strict=True)}
    job = Job(logs, entries, wanted.config(entries))
    await asyncio.to_thread(_compute, job, kept)  # proxies go on meanwhile
    return job


def _compute(job: Job, logs: Sequence[Records]) -> None:
    samples = reference.all_samples(logs)
    config = job.config
    lists = Lists(logs)
    held = {name: reference.partials(item, config.retentions, samples, lists) for name, item in config.selections.items()}
    for i, log in enumerate(logs):
        for partition in log:
            job.partials[i, partition] = {name: cells.get(i * PER_LOG + partition, {}) for name, cells in held.items()}
    for view_id, (view, window) in wanted.views(job.entries).items():
        item = view.inputs[0]
        cells: Mapping[Any, Any] = batch_job.cells(view, lists.shown(view, samples), config.retentions)
        if view.expr is None and item.selection.accumulator == "sketch":
            exact = reference.quantiles(view, held[item.selection.id], cells, lists.pooled(item))
            _within(view_id, cells, exact, job.wrong)
            cells = exact
        job.views[view_id] = view.every_ms, window, cells


async def compare(redis: Redis, job: Job) -> Found:
    """Everything that lies in Redis with everything that must."""
    found = Found()
    for (i, partition), partials in job.partials.items():
        await _compare_fold(redis, job.logs[i][0], partition, job.config, partials, found)
    for view_id, (every, window, cells) in job.views.items():
        await _compare_view(redis, view_id, every, window, cells, found)
    return found


def _within(view: str, samples: Mapping[Any, Any], binned: Mapping[Any, batch_job.Quantile], wrong: list[str]) -> None:
    """Quantiles read off bins are as far from the exact ones as is stated, at most."""
    wrong += [
        f"view {view} {at}: the sketch says {binned.get(at)}, the samples {exact.exact}"
        for at, exact in samples.items() if at not in binned or not exact.allows(binned[at].exact)
    ]  # fmt: skip


async def _compare_view(redis: Redis, view: str, every: int, window: int, expected: Mapping[Any, Any], found: Found) -> None:
    history = await read_view(redis, view)
    oldest = int(time.time() * 1000) - window - every
    there: dict[tuple[batch_job.Group, int], float] = {}
    for bucket, rows in history.rows.items() if history else ():
        for group, _, value in rows.tolist():
            if value == value and history is not None:
                there[tuple(sorted(history.groups[group].items())), bucket] = value
    for at, value in expected.items():
        got = there.pop(at, None)
        if got is None and at[1] <= oldest:
            continue
        found.view_cells += 1
        found.pooled_cells += at[0] == OVERFLOWING
        right = got is not None and (
            value.allows(got) if isinstance(value, batch_job.Quantile | batch_job.Distinct) else got == value
        )
        if not right:
            found.wrong.append(f"view {view} {at}: {got} instead of {value}")
    found.wrong += [f"view {view} {at}: {value} should not be there" for at, value in there.items()]


async def _compare_fold(
    redis: Redis, lineage: str, partition: int, config: Config, expected: Mapping[str, Mapping[At, Partial]], found: Found
) -> None:
    raw: Any = await redis.hget(fold_key(lineage, partition, "meta"), "state")
    if raw is None:  # right of a log that was over before anybody had begun it
        if lacking := sum(map(len, expected.values())):
            found.wrong.append(f"partition {partition} of {lineage}: nothing is stored instead of {lacking} partial cells")
        return
    clock = msgspec.msgpack.decode(raw, type=FoldState).clock
    for name, selection in config.selections.items():
        oldest = clock - config.retentions[name] - SLACK_MS - selection.every_ms
        there = await _stored(redis, lineage, partition, name, selection.accumulator)
        where = f"partition {partition} of {lineage}, selection {name} ({selection.metric}, {selection.accumulator})"
        for at, partial in expected[name].items():
            got = there.pop(at, None)
            if got is None and at[1] < oldest:
                continue
            found.partial_cells += 1
            if selection.accumulator == "distinct":
                partial = {"items": len(partial)}
            if got != partial:
                found.wrong.append(f"{where} {at}: {got} instead of {partial}")
        found.wrong += [f"{where} {at}: {partial} should not be there" for at, partial in there.items()]


async def _stored(redis: Redis, lineage: str, partition: int, name: str, accumulator: str) -> dict[At, Partial]:
    """The partial cells of one selection as they lie in Redis."""
    blobs: Any = await redis.hgetall(fold_key(lineage, partition, f"cells:{name}"))
    keys: Any = await redis.lrange(fold_key(lineage, partition, f"groups:{name}"), 0, -1)
    found: dict[At, Partial] = {}
    for field_, blob in blobs.items():
        bucket, _, page = field_.decode().partition(":")
        for place, partial in page_cells(blob, accumulator):
            number = int(page) * PAGE + place
            key = keys[number] if number < len(keys) else b"group %d, which has no key" % number
            found[key, int(bucket)] = partial
    return found


def page_cells(blob: bytes, accumulator: str) -> Iterable[tuple[int, Partial]]:
    """The partial cells of a page by their places in it."""
    if accumulator == "sketch":
        sketches: dict[int, dict[int, int]] = {}
        keys, counts = unpack_bins(blob)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            sketches.setdefault(key >> 22, {})[(key & (1 << 22) - 1) - (1 << 21)] = count
        return list(sketches.items())
    if accumulator in ("distinct", "topk"):
        return [(place, _items(image, accumulator)) for place, image in unpack_images(blob).items()]
    rows = unpack_page(blob, _ROWS[accumulator])
    return [(place, tuple(row)) for place, row in enumerate(rows.tolist()) if row[0]]


_ROWS: Final = {
    "moments": MOMENTS, "series": MOMENTS, "edges": EDGES, "series_edges": EDGES, "variance": VARIANCE, "increase": INCREASE,
}  # fmt: skip


def _items(image: bytes, accumulator: str) -> dict[Any, int]:
    """Of the items that were counted only their number is known."""
    if accumulator == "distinct":
        return {"items": round(hll_sketch.deserialize(image).get_estimate())}
    sketch = frequent_strings_sketch.deserialize(image)
    return {item: count for item, count, *_ in sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_POSITIVES)}


async def _offset(redis: Redis, lineage: str, partition: int) -> int:
    raw: Any = await redis.hget(fold_key(lineage, partition, "meta"), "offset")
    return int(raw or 0)


async def behind(redis: Redis, lineage: str, ends: Mapping[int, int], config: Config) -> str:
    """What the folds still have to do; empty when all is folded under this configuration."""
    for partition, end in ends.items():
        found: Any = await redis.hmget(fold_key(lineage, partition, "meta"), ["offset", "digest"])
        offset, digest = found
        if offset is None or int(offset) != end:
            return f"partition {partition} is folded up to {int(offset or 0)}, the log ends at {end}"
        if digest.decode() != config.digest:
            return f"partition {partition} is folded under {digest.decode()}, asked is {config.digest}"
    return ""
