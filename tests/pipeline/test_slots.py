"""What is sent to Redis keeps to one hash slot per command, script and transaction, as Redis Cluster needs it."""

import asyncio
import contextlib
import random
import re
import socket
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ResponseError

from services.transport import registry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.pipeline.gateway_world import serving, viewing
from tests.pipeline.test_aggregator import EVERYTHING, points
from tests.pipeline.world import aggregating, feed, register, settled, until, writing
from tests.servers import Broker, Valkey, running

_LINE = re.compile(rb"^\+?[0-9.]+ \[\d+ ([^\]]+)\] (.*)$")
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
Command = tuple[str, list[bytes]]  # who sent it ("lua": a script), its words


@contextlib.contextmanager
def monitored(valkey: Valkey) -> Iterator[list[Command]]:
    """Every command that the server carries out, from now on; complete when the block has ended."""
    found: list[Command] = []
    with socket.create_connection(("127.0.0.1", valkey.port)) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        assert monitor.recv(5) == b"+OK\r\n"
        yield found
        monitor.settimeout(0.2)
        heard = bytearray()
        with contextlib.suppress(TimeoutError):
            while some := monitor.recv(1 << 20):
                heard += some
        for line in bytes(heard).split(b"\r\n"):
            if match := _LINE.match(line):
                words = [word.decode("unicode_escape").encode("latin-1") for word in _WORD.findall(match[2])]
                found.append((match[1].decode(), words))


async def keys_of(redis: Redis, words: list[bytes]) -> set[bytes]:
    """The keys of a command, as the server finds them."""
    try:
        return {key.encode() if isinstance(key, str) else key for key in await redis.command_getkeys(*words)}
    except ResponseError:  # it has none
        return set()


async def freed(redis: Redis) -> None:
    """Wait until the keys of a view are given an end, as nobody looks at it any more."""
    async with asyncio.timeout(30):
        while True:
            for key in [key async for key in redis.scan_iter("{tb:view:*}:meta")]:
                if await redis.pttl(key) > 0:
                    return
            await asyncio.sleep(0.2)


async def test_no_command_no_script_and_no_transaction_crosses_slots(broker: Broker) -> None:
    broker.restart()
    kafka = replace(KafkaSettings(bootstrap_servers=broker.bootstrap), fetch_wait_ms=50)
    with running(Valkey()) as valkey:
        settings = RedisSettings(url=valkey.url)
        async with feed(settings) as redis, writing(kafka) as log, serving(valkey.url) as gateway:
            with monitored(valkey) as commands:
                wanted = await register(redis, EVERYTHING)
                async with aggregating(kafka, settings, "a") as a:
                    async with viewing(gateway.port, EVERYTHING.name) as screen:
                        await log.write(points(random.Random(1), 10))
                        async with aggregating(kafka, settings, "b") as b:
                            await until(
                                lambda: "" if a.status()["partitions"] and b.status()["partitions"] else "one has nothing to do"
                            )
                            await log.write(points(random.Random(2), 10))
                            await settled(redis, log, wanted)
                            await screen.hear_a("snapshot")
                        await log.write(points(random.Random(3), 10))
                        await settled(redis, log, wanted)
                    await registry.delete_entry(redis, EVERYTHING.name)
                    await freed(redis)
            together: dict[str, set[bytes]] = defaultdict(set)
            declared: set[bytes] = set()
            names = set()
            inside = set()
            for sender, words in commands:
                name = words[0].upper()
                names.add(name)
                if name == b"MULTI":
                    inside.add(sender)
                elif name in (b"EXEC", b"DISCARD"):
                    slots = {key_slot(key) for key in together.pop(sender, set())}
                    assert len(slots) <= 1, f"a transaction of {sender} crosses slots"
                    inside.discard(sender)
                keys = await keys_of(redis, words)
                assert len({key_slot(key) for key in keys}) <= 1, f"{words[:6]} crosses slots"
                if name in (b"EVALSHA", b"EVAL"):
                    declared |= keys
                if sender == "lua":
                    assert keys <= declared, f"a script touches {keys - declared}, which it was not given"
                elif sender in inside:
                    together[sender] |= keys
            # Else nothing was recorded of what this is about.
            assert {b"EVALSHA", b"XREAD", b"MULTI", b"HSET", b"ZADD", b"PEXPIRE"} <= names
