"""The registry of dashboards in Redis: written by who owns the YAML, watched by aggregators and gateways.

One hash, a revision that every write raises, a channel. What an entry is, is in `contract.registry`; here it is only moved.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Callable
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis

from services.contract.names import DASHBOARDS, DASHBOARDS_CHANNEL, DASHBOARDS_REVISION
from services.contract.registry import VERSION, Entry, Fault, decode_entry, encode_entry
from services.transport.feed import FeedErrors, Subscription

log = structlog.get_logger()

CHECK_EVERY_S: Final = 1.0


async def write_entry(redis: Redis, *entries: Entry) -> None:
    """Write dashboards, all of them or none."""
    async with redis.pipeline(transaction=True) as together:
        for entry in entries:
            together.hset(DASHBOARDS, entry.name, encode_entry(entry))
            together.publish(DASHBOARDS_CHANNEL, entry.name)
        together.incr(DASHBOARDS_REVISION)
        await together.execute()


async def delete_entry(redis: Redis, name: str) -> None:
    async with redis.pipeline(transaction=True) as together:
        together.hdel(DASHBOARDS, name)
        together.publish(DASHBOARDS_CHANNEL, name)
        together.incr(DASHBOARDS_REVISION)
        await together.execute()


async def read_all(redis: Redis) -> dict[str, Entry]:
    """Every dashboard by name. What cannot be read is an entry without a document whose fault says why."""
    return (await _read(redis))[1]


async def watch(redis: Redis, on_away: Callable[[str], None] | None = None) -> AsyncGenerator[dict[str, Entry], None]:
    """The whole registry: as it is, and again after each change. Waits while Redis is away; on_away hears why, once a second."""
    ear = _Ear()
    subscription = Subscription(redis, ear)
    subscription.add(DASHBOARDS_CHANNEL)
    listening = asyncio.create_task(subscription.run())
    try:
        known: dict[str, Entry] | None = None
        revision = b""
        while True:
            ear.event.clear()
            try:
                if ear.returned or known is None or await _revision(redis) != revision:
                    ear.returned = False
                    revision, entries = await _read(redis)
                    if entries != known:
                        known = entries
                        yield dict(entries)
            except FeedErrors as error:
                ear.returned = True
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


async def _revision(redis: Redis) -> bytes:
    revision: bytes | None = await redis.get(DASHBOARDS_REVISION)  # type: ignore[assignment]  # the client does not decode
    return revision or b""


async def _read(redis: Redis) -> tuple[bytes, dict[str, Entry]]:
    async with redis.pipeline(transaction=True) as together:
        together.get(DASHBOARDS_REVISION)
        together.hgetall(DASHBOARDS)
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
