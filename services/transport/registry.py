"""The registry in Redis: written by who owns the YAML; dashboards are watched by aggregators and gateways, sources by ingestors.

Of each kind one hash, a revision that every write raises, a channel. What an entry is, is in `contract.registry`; here it is only moved.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import WatchError

from services.contract.names import (
    DASHBOARDS,
    DASHBOARDS_CHANNEL,
    DASHBOARDS_REVISION,
    SOURCES,
    SOURCES_CHANNEL,
    SOURCES_REVISION,
)
from services.contract.registry import VERSION, Entry, Fault, decode_entry, encode_entry
from services.transport.feed import FeedErrors, Subscription

log = structlog.get_logger()

CHECK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the entries of one kind lie."""

    entries: str
    revision: str
    channel: str


DASHBOARD_SHELF: Final = Shelf(DASHBOARDS, DASHBOARDS_REVISION, DASHBOARDS_CHANNEL)
SOURCE_SHELF: Final = Shelf(SOURCES, SOURCES_REVISION, SOURCES_CHANNEL)


async def write_entry(redis: Redis, *entries: Entry, shelf: Shelf = DASHBOARD_SHELF) -> None:
    """Write entries, all of them or none."""
    async with redis.pipeline(transaction=True) as together:
        for entry in entries:
            together.hset(shelf.entries, entry.name, encode_entry(entry))
            together.publish(shelf.channel, entry.name)
        together.incr(shelf.revision)
        await together.execute()


async def delete_entry(redis: Redis, name: str, shelf: Shelf = DASHBOARD_SHELF) -> None:
    async with redis.pipeline(transaction=True) as together:
        together.hdel(shelf.entries, name)
        together.publish(shelf.channel, name)
        together.incr(shelf.revision)
        await together.execute()


async def keep(
    redis: Redis,
    wanted: Mapping[str, Entry],
    written: dict[str, Entry],
    shelf: Shelf = DASHBOARD_SHELF,
    mine: Callable[[str], bool] = lambda _: True,
) -> dict[str, Entry]:
    """Make what an owner has written what it wants, all of it or nothing; `written` follows. Who wants nothing says so, lest readers keep what was lost.

    mine: whether a source is this owner's. Where an entry of another owner lies it is left alone, and is in what is returned.
    """
    changed = [name for name, entry in wanted.items() if written.get(name) != entry]
    gone = sorted(written.keys() - wanted.keys())
    theirs: dict[str, Entry] = {}
    if changed or gone:
        theirs = await _put(redis, {name: wanted.get(name) for name in (*changed, *gone)}, shelf, mine)
    elif not wanted:
        await redis.set(shelf.revision, 0, nx=True)
    written.update({name: wanted[name] for name in changed if name not in theirs})
    for name in (*gone, *theirs):
        written.pop(name, None)
    return theirs


async def _put(
    redis: Redis, entries: Mapping[str, Entry | None], shelf: Shelf, mine: Callable[[str], bool]
) -> dict[str, Entry]:
    """Entries by name, None for none any more; what lies there of other owners is looked at in the same transaction."""
    async with redis.pipeline(transaction=True) as together:
        while True:
            await together.watch(shelf.entries)
            there: list[bytes | None] = await together.hmget(shelf.entries, list(entries))  # type: ignore[assignment]  # the client does not decode
            found = {name: _entry(name, blob) for name, blob in zip(entries, there, strict=True) if blob is not None}
            theirs = {name: entry for name, entry in found.items() if not mine(entry.source)}
            together.multi()  # type: ignore[no-untyped-call]
            for name, entry in entries.items():
                if name in theirs:
                    continue
                if entry is None:
                    together.hdel(shelf.entries, name)
                else:
                    together.hset(shelf.entries, name, encode_entry(entry))
                together.publish(shelf.channel, name)
            together.incr(shelf.revision)
            try:
                await together.execute()
            except WatchError:  # somebody has written since we looked
                continue
            return theirs


async def read_all(redis: Redis, shelf: Shelf = DASHBOARD_SHELF) -> dict[str, Entry]:
    """Every entry by name. What cannot be read is an entry without a document whose fault says why."""
    return (await _read(redis, shelf))[1]


async def watch(
    redis: Redis,
    on_away: Callable[[str], None] | None = None,
    shelf: Shelf = DASHBOARD_SHELF,
    on_back: Callable[[], None] | None = None,
    *,
    owner: bool = False,
) -> AsyncGenerator[dict[str, Entry], None]:
    """All entries: as they are, and again after each change.

    Waits while Redis is away; on_away hears why, once a second, and on_back that it answers again, though nothing may have changed.
    A Redis that has lost everything says nothing of what there should be: only an owner, who writes it again, is told of that.
    """
    ear = _Ear()
    subscription = Subscription(redis, ear)
    subscription.add(shelf.channel)
    listening = asyncio.create_task(subscription.run())
    try:
        known: dict[str, Entry] | None = None
        revision = b""
        away = False
        while True:
            ear.event.clear()
            try:
                if ear.returned or known is None or await _revision(redis, shelf) != revision:
                    ear.returned = False
                    revision, entries = await _read(redis, shelf)
                    emptied = known is not None and not revision  # every write raises it
                    if entries != known and (owner or not emptied):
                        known = entries
                        yield dict(entries)
                if away and on_back:
                    on_back()
                away = False
            except FeedErrors as error:
                ear.returned = away = True
                if on_away:
                    on_away(str(error) or type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_EVERY_S):
                    await ear.event.wait()
    finally:
        listening.cancel()


class _Ear:
    """Wakes the watcher. returned: Redis may be another one than before, so that its revision says nothing."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.returned = False

    def subscribed(self, channel: str) -> None:
        self.returned = True
        self.event.set()

    def received(self, channel: str, data: bytes) -> None:
        self.event.set()

    def lost(self, reason: str) -> None:
        self.returned = True


async def _revision(redis: Redis, shelf: Shelf) -> bytes:
    revision: bytes | None = await redis.get(shelf.revision)  # type: ignore[assignment]  # the client does not decode
    return revision or b""


async def _read(redis: Redis, shelf: Shelf) -> tuple[bytes, dict[str, Entry]]:
    async with redis.pipeline(transaction=True) as together:
        together.get(shelf.revision)
        together.hgetall(shelf.entries)
        revision, blobs = await together.execute()
    return revision or b"", {name.decode(): _entry(name.decode(), blob) for name, blob in sorted(blobs.items())}


def _entry(name: str, blob: bytes) -> Entry:
    try:
        entry = decode_entry(blob)
        if entry.version <= VERSION and entry.name == name:
            return entry
        reason = f"is of version {entry.version} and named {entry.name!r}; this reads version {VERSION}"
    except msgspec.DecodeError as error:
        reason = str(error)
    log.warning("an entry of the registry cannot be read", name=name, reason=reason)
    digest = hashlib.blake2b(blob, digest_size=8).hexdigest()
    return Entry(
        VERSION, name, digest, None, "registry", Fault("", f"the registry's entry cannot be read: {reason}", 0, "registry")
    )
