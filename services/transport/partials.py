"""Where folds are stored: one hash tag per (lineage, partition), one script per commit.

The script writes only if the offset and the set of selections that lie there are those that this state was built from. That
compare-and-set is the fence: a zombie, an owner with yesterday's dashboards or a server that lost its last writes all show
as RefusedError, and the fold reloads and replays. services.aggregator.fold makes what is stored here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from services.contract.names import fold_key
from services.contract.partials import (
    COUNTERS,
    VERSION,
    Config,
    Entry,
    FoldState,
    Header,
    NewKeys,
    Page,
    PartialsError,
    SelectionNotes,
    Stored,
)
from services.transport.scripts import Argument, Script

MAX_ENTRY_PAGES: Final = 1_000
"""A commit with more pages than this leaves a log entry without them; merges in other processes then read the cells."""
LOG_ENTRIES: Final = 8, 256
LOG_BYTES: Final = 16 << 20
"""A partition's log has as many entries, within these bounds, as there is room for; who falls behind further reads the cells."""
READ_TRIES: Final = 20

_COMMIT: Final = Script("""
local meta, log = KEYS[1], KEYS[2]
local held = redis.call('HMGET', meta, 'offset', 'digest', 'stamp')
if (held[1] or '') ~= ARGV[1] or (held[2] or '') ~= ARGV[2] or (held[3] or '') ~= ARGV[11] then
  return {0, held[1] or '', held[2] or ''}
end
redis.call('HSET', meta, 'v', ARGV[3], 'offset', ARGV[4], 'digest', ARGV[5], 'state', ARGV[7], 'stamp', ARGV[12])
if ARGV[6] ~= '' then redis.call('HSET', meta, 'config', ARGV[6]) end
local entry = {'XADD', log, 'MAXLEN', '~', ARGV[8], '*', 'h', ARGV[9]}
local whole = ARGV[10] == '1'
local at = 13
local function give(command, key, count)
  local last = at + count - 1
  while at <= last do
    local to = math.min(last, at + 1999)  -- Lua's stack holds no more than 8,000
    redis.call(command, key, unpack(ARGV, at, to))
    at = to + 1
  end
end
for k = 3, #KEYS, 2 do
  local cells, groups = KEYS[k], KEYS[k + 1]
  local name, reset = ARGV[at], ARGV[at + 1] == '1'
  local sets, dels, pushes = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  at = at + 5
  if reset then redis.call('DEL', cells, groups) end
  if not whole and not reset then
    for i = at, at + 2 * sets - 1, 2 do
      entry[#entry + 1] = name .. ':' .. ARGV[i]
      entry[#entry + 1] = ARGV[i + 1]
    end
  end
  give('HSET', cells, 2 * sets)
  give('HDEL', cells, dels)
  give('RPUSH', groups, pushes)
end
redis.call(unpack(entry))
return {1}
""")


class RefusedError(Exception):
    """Another state lies there than the one that the commit was built from."""


class Commit(msgspec.Struct, frozen=True):
    """One step of a fold. expected: digest of the configuration that lies there, '' where nothing does.

    after, stamp: names of the commit that lies there, and of this one. An offset is no name: two commits may stand at the same.
    """

    expected: str
    config: Config
    from_: int
    to: int
    state: FoldState
    pages: Sequence[tuple[Page, bytes]]
    keys: Sequence[NewKeys]
    gone: Sequence[Page]
    reset: Sequence[str]
    notes: Mapping[str, SelectionNotes] = {}
    after: str = ""
    stamp: str = ""
    sampled: Mapping[str, int] = {}

    def entry(self) -> Entry:
        """What merges of this process are told of it. Where a fold began anew, they cannot go on from what they hold."""
        reset, state = sorted(set(self.reset) - {COUNTERS}), self.state
        whole = bool(reset) or not self.expected
        header = Header(
            VERSION, self.config.digest, self.from_, self.to, state.clock, state.max_time, whole, list(self.keys),
            dict(self.notes), self.after, self.stamp, reset if self.expected else [], self.expected, dict(self.sampled),
        )  # fmt: skip
        return Entry(header, self.pages if self.expected else (), self.config)


async def commit(redis: Redis, lineage: str, partition: int, step: Commit) -> None:
    """Store a step. RefusedError when the compare-and-set failed; redis.RedisError when the answer did not come (it may have been stored)."""
    keys, arguments = _call(lineage, partition, step)
    answer = await _COMMIT.run(redis, keys, arguments)
    if not isinstance(answer, list) or answer[0] != 1:
        raise RefusedError(
            f"partition {partition}: offset and selections there are {answer!r}, not {step.from_}, {step.expected}"
        )


def _call(lineage: str, partition: int, step: Commit) -> tuple[list[str], list[Argument]]:
    header = step.entry().header
    told = [blob for page, blob in step.pages if page.selection not in header.reset]
    all_to_be_read = not step.expected or len(told) > MAX_ENTRY_PAGES
    if all_to_be_read:
        header = msgspec.structs.replace(header, whole=True, reset=[], before="")
    least, most = LOG_ENTRIES
    room = LOG_BYTES // max(1, sum(map(len, told)))
    keys = [fold_key(lineage, partition, "meta"), fold_key(lineage, partition, "log")]
    arguments: list[Argument] = [
        str(step.from_) if step.expected else "",
        step.expected,
        VERSION,
        step.to,
        step.config.digest,
        msgspec.json.encode(step.config) if step.config.digest != step.expected else b"",
        msgspec.msgpack.encode(step.state),
        max(least, min(most, room)),
        msgspec.msgpack.encode(header),
        int(all_to_be_read),
        step.after,
        step.stamp,
    ]
    for name, part in sorted(_by_selection(step).items()):
        keys += (fold_key(lineage, partition, f"cells:{name}"), fold_key(lineage, partition, f"groups:{name}"))
        arguments += (name, int(name in step.reset), len(part.sets) // 2, len(part.gone), len(part.pushed))
        arguments += part.sets
        arguments += part.gone
        arguments += part.pushed
    return keys, arguments


@dataclass(slots=True)
class _Part:
    """What is written of one selection: fields and blobs in turn, fields, keys of groups."""

    sets: list[Argument] = field(default_factory=list)
    gone: list[Argument] = field(default_factory=list)
    pushed: list[Argument] = field(default_factory=list)


def _by_selection(step: Commit) -> dict[str, _Part]:
    parts: defaultdict[str, _Part] = defaultdict(_Part, {name: _Part() for name in step.reset})
    for page, blob in step.pages:
        parts[page.selection].sets += (page.field(), blob)
    for page in step.gone:
        parts[page.selection].gone.append(page.field())
    for new in step.keys:
        parts[new.selection].pushed += new.keys
    return parts


async def load(
    redis: Redis,
    lineage: str,
    partition: int,
    selections: Sequence[str] | None = None,
    since: Mapping[str, int] = MappingProxyType({}),
) -> Stored | None:
    """The fold that lies there, None where none does; with only these selections when they are named. PartialsError when it cannot be read.

    since: by selection, from which bucket on (epoch ms) its cells are read; where it is not said, all of a selection that is made of samples, and of
    one that is rolled up those that may still change.
    Cells and offset belong together, so they are read in one transaction; again where other selections are there by then.
    """
    meta = fold_key(lineage, partition, "meta")
    head = _head(meta, await redis.hmget(meta, _HEAD))
    for _ in range(READ_TRIES):
        if head is None:
            return None
        names = [name for name in (*head.config.selections, COUNTERS) if selections is None or name in selections]
        cold_after = head.config.cold_after()
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hmget(meta, _HEAD)
            for name in names:
                first = since.get(name, head.state.clock - cold_after[name] if name in cold_after else 0)
                cells_key = fold_key(lineage, partition, f"cells:{name}")
                if first > 0:
                    pipe.eval(_CELLS_SINCE, 1, cells_key, first)
                else:
                    pipe.hgetall(cells_key)
                pipe.lrange(fold_key(lineage, partition, f"groups:{name}"), 0, -1)
            found, *cells = await pipe.execute()
        stored = _head(meta, found)
        if stored is not None and stored.config.digest == head.config.digest:
            for name, blobs, keys in zip(names, cells[::2], cells[1::2], strict=True):
                stored.pages[name], stored.keys[name] = _pages(_paired(blobs)), keys
            return stored
        head = stored
    raise PartialsError(f"partition {partition} of {lineage} got other selections {READ_TRIES} times while it was read")


async def positions(redis: Redis, lineage: str, partitions: Sequence[int]) -> list[tuple[int, str, str] | None]:
    """Offset, digest of the configuration and stamp of each fold, None where none lies."""
    async with redis.pipeline(transaction=False) as pipe:
        for partition in partitions:
            pipe.hmget(fold_key(lineage, partition, "meta"), ["offset", "digest", "stamp"])
        found = await pipe.execute()
    return [
        None if offset is None else (int(offset), digest.decode(), (stamp or b"").decode()) for offset, digest, stamp in found
    ]


_HEAD: Final = ["v", "offset", "config", "state", "stamp"]


def _head(key: str, found: list[Any]) -> Stored | None:
    version, offset, config, state, stamp = found
    if offset is None:
        return None
    if version is None or int(version) != VERSION:
        raise PartialsError(f"{key} is of version {version!r}, this reads {VERSION}")
    try:
        fold = msgspec.msgpack.decode(state, type=FoldState)
        return Stored(msgspec.json.decode(config, type=Config), int(offset), fold, stamp=(stamp or b"").decode())
    except (msgspec.DecodeError, TypeError) as error:
        raise PartialsError(f"{key} cannot be read: {error}") from None


_CELLS_SINCE: Final = """
local found = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if tonumber(string.match(field, '^%d+')) >= tonumber(ARGV[1]) then
    found[#found + 1] = field
    found[#found + 1] = redis.call('HGET', KEYS[1], field)
  end
end
return found
"""
"""Field and value of every page whose bucket starts from an epoch ms on."""


def _paired(answer: dict[bytes, bytes] | list[bytes]) -> dict[bytes, bytes]:
    """An answer of HGETALL or of _CELLS_SINCE."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def _pages(blobs: dict[bytes, bytes]) -> dict[tuple[int, int], bytes]:
    pages = {}
    for place, blob in blobs.items():
        bucket, _, page = place.partition(b":")
        pages[int(bucket), int(page)] = blob
    return pages


class LogTail:
    """Follows the log entries of partitions that another aggregator folds."""

    def __init__(self, redis: Redis, lineage: str, partitions: Sequence[int]) -> None:
        self._redis = redis
        self._partitions = {fold_key(lineage, partition, "log").encode(): partition for partition in partitions}
        self._last: dict[bytes, bytes] = {}

    async def start(self) -> None:
        """From here on nothing is missed; call it before the partials are loaded."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in self._partitions:
                pipe.xrevrange(key, count=1)
            newest: list[Any] = await pipe.execute()
        self._last = {key: found[0][0] if found else b"0-0" for key, found in zip(self._partitions, newest, strict=True)}

    async def read(self) -> list[tuple[int, Entry]]:
        """(partition, entry) of what came since the last call, in each partition's order. It does not wait."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, last in self._last.items():  # each partition's log has a slot of its own
                pipe.xread({key: last}, count=64)
            answers: list[Any] = await pipe.execute()
        found = []
        for answer in answers:
            for key, entries in answer or ():
                for entry_id, fields in entries:
                    self._last[key] = entry_id
                    found.append((self._partitions[key], decode_entry(fields)))
        return found


def decode_entry(fields: dict[bytes, bytes]) -> Entry:
    """A stream entry. PartialsError when it is not one of this version."""
    try:
        header = msgspec.msgpack.decode(fields[b"h"], type=Header)
    except (KeyError, msgspec.DecodeError) as error:
        raise PartialsError(f"log entry without a head that can be read: {error!r}") from None
    if header.v != VERSION:
        raise PartialsError(f"log entry of version {header.v}, this reads {VERSION}")
    pages = []
    for name, blob in fields.items():
        if name != b"h":
            selection, bucket, page = name.decode().split(":")
            pages.append((Page(selection, int(bucket), int(page)), blob))
    return Entry(header, pages)
