"""A gateway with as many viewers as it can serve: balancers hear of it before anybody is given fewer frames, and until there is room again."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from services.gateway.service import Gateway
from services.runtime.admin import AdminServer, AdminSettings
from services.transport.registry import write_entry
from tests.pipeline.gateway_world import desk, document, entry, eventually, now_ms, panel, request, serving, viewing
from tests.servers import Valkey

HOST = document("host", panel("cpu", "cpu_busy"))


@pytest.fixture
async def gateway(valkey: Valkey) -> AsyncIterator[Gateway]:
    """Nobody watches: the only ticks that it knows of are those that a test tells it of."""
    async with desk(valkey.url) as redis:
        await write_entry(redis, entry(HOST))
        async with serving(valkey.url) as found:
            await eventually(lambda: not found.readiness())
            yield found


@contextlib.asynccontextmanager
async def administered(gateway: Gateway) -> AsyncIterator[int]:
    """The port of its admin server."""
    admin = AdminServer(gateway, AdminSettings(port=0))
    await admin.start()
    admin.started = True
    try:
        yield int(admin.address.rpartition(":")[2])
    finally:
        await admin.stop()


class Load:
    """What ticks take, in a time of their own."""

    def __init__(self, gateway: Gateway) -> None:
        self._throttle = gateway.hub.throttle
        self._now = now_ms()

    def ticks(self, took_ms: int, seconds: int) -> None:
        """As often as they may come, twenty times a second, for so long."""
        for _ in range(20 * seconds):
            self._now += max(50, took_ms)
            self._throttle.observe(took_ms, self._now)


async def readiness(port: int) -> tuple[int, str]:
    status, _, body = await request(port, "/readyz")
    return status, body.decode()


async def test_a_gateway_that_is_full_is_not_ready_before_anybody_is_given_fewer_frames(gateway: Gateway) -> None:
    load = Load(gateway)
    async with administered(gateway) as admin:
        load.ticks(32, seconds=10)
        assert await readiness(admin) == (200, "ok\n"), "nearly two thirds of the time"
        load.ticks(37, seconds=10)
        assert await readiness(admin) == (503, "as many viewers as it can serve: ticks take 74% of the time\n")
        assert gateway.hub.throttle.factor == 1
        load.ticks(32, seconds=10)
        assert (await readiness(admin))[0] == 503, "who was sent elsewhere does not come back at once"
        load.ticks(20, seconds=10)
        assert await readiness(admin) == (200, "ok\n")


async def test_a_gateway_that_has_slowed_all_down_is_not_ready_however_little_its_ticks_take_then(gateway: Gateway) -> None:
    load = Load(gateway)
    async with administered(gateway) as admin:
        load.ticks(60, seconds=2)
        load.ticks(20, seconds=2)
        assert gateway.hub.throttle.factor > 1
        assert (await readiness(admin))[0] == 503


async def test_who_comes_to_a_gateway_that_is_full_is_served_all_the_same(gateway: Gateway) -> None:
    """A balancer may not have heard of it yet, and there may be no other gateway."""
    Load(gateway).ticks(37, seconds=10)
    assert gateway.readiness()
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
