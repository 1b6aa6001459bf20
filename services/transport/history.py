"""Where views are kept: one hash tag per view. Merges write it by compare-and-set on its version; gateways read it.

Rows lie in one blob per bucket; a sorted set orders buckets by time, another by the version that wrote them last. Snapshot, resume,
gap and catch-up are one query: rows changed after a version. Every commit is also published on the view's channel.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from redis.asyncio import Redis

from services.contract.history import (
    NO_NOTES,
    VERSION,
    HistoryError,
    Notes,
    ViewCommit,
    ViewHistory,
    encode_change,
    unpack_rows,
)
from services.contract.names import VIEWS, view_channel, view_key
from services.contract.terms import Terms
from services.transport.scripts import Argument, Script

PARTS: Final = ("meta", "rows", "groups", "buckets", "versions")
READ_TRIES: Final = 20
READ_BUCKETS: Final = 500
_HEAD: Final = ["v", "epoch", "version", "closed", "newest", "positions", "notes", "hot", "filled", "terms", "sampled"]

_COMMIT: Final = Script("""
local meta, rows, groups, buckets, versions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local held = redis.call('HMGET', meta, 'epoch', 'version')
local epoch, version = held[1] or '', held[2] or '0'
if epoch ~= ARGV[1] or version ~= ARGV[2] then
  return {0, epoch, version}
end
if epoch ~= ARGV[3] then
  redis.call('DEL', rows, groups, buckets, versions)
  redis.call('HDEL', meta, 'hot')
end
local new = ARGV[4]
redis.call('HSET', meta, 'v', ARGV[5], 'epoch', ARGV[3], 'version', new, 'closed', ARGV[6], 'every', ARGV[7],
  'at', ARGV[8], 'newest', ARGV[9], 'positions', ARGV[10])
if ARGV[14] ~= '' then redis.call('HSET', meta, 'notes', ARGV[14]) end
if ARGV[15] ~= '0' then redis.call('HSET', meta, 'hot', ARGV[15]) end
if ARGV[17] ~= '0' then redis.call('HSET', meta, 'filled', ARGV[17] .. ':' .. ARGV[3]) end
if ARGV[18] ~= '' then redis.call('HSET', meta, 'terms', ARGV[18]) end
if ARGV[19] ~= '0' then redis.call('HSET', meta, 'sampled', ARGV[19] .. ':' .. new) end
if ARGV[16] ~= '0' then
  for _, bucket in ipairs(redis.call('ZRANGEBYSCORE', buckets, '-inf', ARGV[16])) do
    redis.call('HDEL', rows, bucket)
    redis.call('ZREM', buckets, bucket)
    redis.call('ZREM', versions, bucket)
  end
end
local at = 20
for i = 1, tonumber(ARGV[11]) do
  redis.call('HSET', rows, ARGV[at], ARGV[at + 1])
  redis.call('ZADD', buckets, ARGV[at], ARGV[at])
  redis.call('ZADD', versions, new, ARGV[at])
  at = at + 2
end
for i = 1, tonumber(ARGV[12]) do
  redis.call('HSET', groups, ARGV[at], ARGV[at + 1])
  at = at + 2
end
for i = 1, tonumber(ARGV[13]) do
  redis.call('HDEL', rows, ARGV[at])
  redis.call('ZREM', buckets, ARGV[at])
  redis.call('ZREM', versions, ARGV[at])
  at = at + 1
end
redis.call('PUBLISH', ARGV[at], ARGV[at + 1])
return {1}
""")


async def commit_all(redis: Redis, steps: Sequence[ViewCommit]) -> list[bool]:
    """Store the steps, each on its own; whether each was taken: False means that another owner has been here."""
    answers = await _COMMIT.run_all(redis, [_call(step) for step in steps])
    return [isinstance(answer, list) and answer[0] == 1 for answer in answers]


def _call(step: ViewCommit) -> tuple[list[str], list[Argument]]:
    change, (epoch, version) = step.change, step.held
    arguments: list[Argument] = [
        epoch,
        version,
        change.epoch,
        change.version,
        VERSION,
        change.closed,
        step.every_ms,
        change.at,
        change.newest,
        msgspec.json.encode(step.positions),
        len(step.blobs),
        len(change.groups),
        len(step.gone),
        "" if change.notes is None else msgspec.json.encode(change.notes),
        step.hot,
        step.old,
        change.filled,
        "" if step.terms is None else msgspec.json.encode(step.terms),
        change.sampled,
    ]
    for bucket, blob in step.blobs.items():
        arguments += (bucket, blob)
    for group in change.groups:
        arguments += (group.number, msgspec.json.encode(group.labels))
    arguments += step.gone
    arguments += (view_channel(step.view), encode_change(change))
    return [view_key(step.view, part) for part in PARTS], arguments


async def heads(redis: Redis, views: Sequence[str]) -> list[tuple[str, int]]:
    """Of each view the epoch and the version that lie there; ('', 0) where nothing does. Redis errors."""
    async with redis.pipeline(transaction=False) as pipe:
        for view in views:
            pipe.hmget(view_key(view, "meta"), "epoch", "version")
        found = await pipe.execute()
    return [(epoch.decode() if epoch else "", int(version or 0)) for epoch, version in found]


async def read_view(redis: Redis, view: str, after: int = -1) -> ViewHistory | None:
    """The rows that changed after a version (all of them by default), None where the view has no history. HistoryError when it cannot be read.

    Rows and version belong together: it is read again when a commit came in between.
    """
    meta, rows, groups, _, versions = (view_key(view, part) for part in PARTS)
    for _ in range(READ_TRIES):
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hmget(meta, _HEAD)
            pipe.hgetall(groups)
            if after < 0:
                pipe.hgetall(rows)
            else:
                pipe.zrangebyscore(versions, f"({after}", "+inf")
            head, labels, found = await pipe.execute()
        if head[1] is None:
            return None
        if int(head[0]) != VERSION:
            raise HistoryError(f"history of view {view} is of version {int(head[0])}, this reads {VERSION}")
        if after >= 0:
            blobs = await redis.hmget(rows, found) if found else []
            if found and await redis.hget(meta, "version") != head[2]:
                continue
            found = {bucket: blob for bucket, blob in zip(found, blobs, strict=True) if blob is not None}
        return _history(head, labels, found, after)
    raise HistoryError(f"view {view} was committed to {READ_TRIES} times while it was read")


async def read_hot(redis: Redis, view: str) -> ViewHistory | None:
    """The rows of buckets that its merge may still write, None where the view has no history."""
    first: bytes | None = await redis.hget(view_key(view, "meta"), "hot")  # type: ignore[assignment]  # the client does not decode
    return await read_range(redis, view, int(first or 0))


async def read_range(redis: Redis, view: str, first: int, last: int | None = None) -> ViewHistory | None:
    """The rows of buckets that start from `first` on and before `last`, both epoch ms, and no others; None where the view has no history.

    Groups and rows are read in one transaction after the buckets are known; a bucket that left in between is not there.
    """
    meta, rows, groups, buckets, _ = (view_key(view, part) for part in PARTS)
    found: list[Any] = await redis.zrangebyscore(buckets, first, "+inf" if last is None else f"({last}")
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hmget(meta, _HEAD)
        pipe.hgetall(groups)
        for at in range(0, len(found), READ_BUCKETS):
            pipe.hmget(rows, found[at : at + READ_BUCKETS])
        head, labels, *answers = await pipe.execute()
    if head[1] is None:
        return None
    if int(head[0]) != VERSION:
        raise HistoryError(f"history of view {view} is of version {int(head[0])}, this reads {VERSION}")
    blobs = [blob for answer in answers for blob in answer]
    return _history(head, labels, {bucket: blob for bucket, blob in zip(found, blobs, strict=True) if blob is not None}, -1)


def _history(head: list[Any], labels: dict[bytes, bytes], blobs: dict[bytes, bytes], after: int) -> ViewHistory:
    rows = {}
    for bucket, blob in sorted((int(bucket), blob) for bucket, blob in blobs.items()):
        unpacked = unpack_rows(blob)
        rows[bucket] = unpacked if after < 0 else unpacked[np.asarray(unpacked["version"] > after)]
    try:
        groups = {int(number): msgspec.json.decode(text, type=dict[str, str]) for number, text in sorted(labels.items())}
        positions = msgspec.json.decode(head[5], type=dict[str, int])
        notes = NO_NOTES if head[6] is None else msgspec.json.decode(head[6], type=Notes)
        terms: Terms = () if head[9] is None else msgspec.json.decode(head[9], type=Terms)
    except msgspec.DecodeError as error:
        raise HistoryError(f"history that cannot be read: {error}") from None
    return ViewHistory(
        head[1].decode(), int(head[2]), int(head[3]), int(head[4]), groups, rows, positions, notes, int(head[7] or 0),
        _of(head[8], head[1]), terms, _of(head[10], head[2]),
    )  # fmt: skip


def _of(found: bytes | None, present: bytes) -> int:
    """A number that holds for the epoch, or the version, that it was said of: an older version of the software goes on to another and leaves it there."""
    number, _, of = (found or b"0").partition(b":")
    return int(number) if of == present else 0


async def keep_views(redis: Redis, views: Sequence[str]) -> None:
    """Enter views among the known ones, and take back `expire_views`."""
    if not views:
        return
    # First, and by itself: in a Cluster its slot is another one's, and what is not known nobody lets go.
    await redis.sadd(VIEWS, *views)
    async with redis.pipeline(transaction=False) as pipe:
        for view in views:
            for part in PARTS:
                pipe.persist(view_key(view, part))
        await pipe.execute()


async def known_views(redis: Redis) -> set[str]:
    """Which views were kept and have not been let go since."""
    found: set[bytes] = await redis.smembers(VIEWS)  # type: ignore[assignment]  # the client does not decode
    return {view.decode() for view in found}


async def expire_views(redis: Redis, views: Sequence[str], after_ms: int) -> None:
    """Drop views that no dashboard asks for any more, after a while."""
    if not views:
        return
    async with redis.pipeline(transaction=False) as pipe:
        for view in views:
            for part in PARTS:
                pipe.pexpire(view_key(view, part), after_ms)
        await pipe.execute()
    await redis.srem(VIEWS, *views)  # last, and by itself: as long as one is known it is let go again
