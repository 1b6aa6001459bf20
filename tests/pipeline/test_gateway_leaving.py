"""A gateway that is told to leave: a process of its own, by signal and by orders on its admin port."""

import asyncio
import http.client
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis
from websockets.exceptions import ConnectionClosed

from services.local.embedded import free_port
from services.transport.registry import write_entry
from tests.fleet import Fleet
from tests.pipeline.gateway_world import (
    PATIENCE_S,
    Message,
    Screen,
    desk,
    document,
    entry,
    metrics_at,
    panel,
    plotting,
    request,
    serving,
    viewing,
)
from tests.pipeline.test_gateway_events import listening
from tests.pipeline.world import until
from tests.servers import Valkey

HOST = document("host", panel("cpu", "cpu_busy"))
OTHER = document("other", panel("rx", "rx_bytes"))


class Process:
    """One gateway. notice_s and deadline_s as its settings have them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.port = free_port()

    def start(self, notice_s: float = 0.5, deadline_s: float = 20) -> "Process":
        environ = {
            "TIDEBOARD_GATEWAY_PORT": str(self.port),
            "TIDEBOARD_GATEWAY_DRAIN_NOTICE": str(notice_s),
            "TIDEBOARD_GATEWAY_DRAIN_DEADLINE": str(deadline_s),
        }
        self._fleet.start("gateway", "gateway", environ)
        return self

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._fleet.send("gateway", number)

    async def order(self, path: str, body: str = "", **headers: str) -> tuple[int, Message]:
        return await asyncio.to_thread(_post, self._fleet.admin("gateway"), path, body, headers)

    async def leaving(self) -> Message:
        _, _, body = await request(self._fleet.admin("gateway"), "/status")
        found: Message = json.loads(body)["leaving"]
        return found

    async def readiness(self) -> tuple[int, str]:
        status, _, body = await request(self._fleet.admin("gateway"), "/readyz")
        return status, body.decode()

    async def counted(self, name: str) -> float:
        """A metric without labels."""
        return (await asyncio.to_thread(metrics_at, self._fleet.admin("gateway")))[name, ()]

    async def ended(self) -> int:
        await until(lambda: "" if self._fleet.code("gateway") is not None else "it has not ended")
        code = self._fleet.code("gateway")
        assert code is not None
        return code


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with desk(valkey.url) as found:
        await write_entry(found, entry(HOST), entry(OTHER))
        yield found


@pytest.fixture
def gateway(valkey: Valkey, redis: Redis) -> Iterator[Process]:
    with Fleet(REDIS_URL=valkey.url) as fleet:
        yield Process(fleet)


async def told_to_move(screen: Screen) -> bool:
    """Whether a viewer is told to move before anything else that comes within a second."""
    try:
        async with asyncio.timeout(1.5):
            await screen.hear_a("moved")
    except TimeoutError:
        return False
    return True


async def closing(screen: Screen) -> tuple[int, Any]:
    """The code with which the gateway closes a viewer, and what its reason says."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            await screen.hear()
    assert caught.value.rcvd
    return caught.value.rcvd.code, json.loads(caught.value.rcvd.reason)


async def test_sigterm_hands_viewers_over_and_serves_them_until_they_have_gone(gateway: Process) -> None:
    gateway.start(notice_s=1)
    async with viewing(gateway.port, "host") as early:
        await early.hear_a("snapshot")
        gateway.signal()
        await until_unready(gateway)
        async with viewing(gateway.port, "host") as late:  # a balancer that has not heard of it yet
            await late.hear_a("snapshot")
            for screen in (early, late):
                assert 0 < (await screen.hear_a("moved"))["retry_in_ms"] <= 1_000
            await early.hear_a("delta")  # a sign of life: nothing ends before they go
            gateway.signal()  # means the same
            await late.hear_a("delta")
            assert (await gateway.leaving())["state"] == "draining"
    assert await gateway.ended() == 0


async def test_an_order_to_drain_is_the_same_and_says_how_far_it_is(gateway: Process) -> None:
    gateway.start()
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        status, said = await gateway.order("/drain")
        assert (status, said["state"], said["viewers"], said["ends"]) == (202, "draining", 1, True)
        assert 19 < said["deadline_in_s"] <= 20
        assert await gateway.readiness() == (503, "draining, with 1 viewers left\n")
        await screen.hear_a("moved")
        status, said = await gateway.order("/drain")
        assert (status, said["state"], said["asked"]) == (202, "draining", 1)
        assert (await gateway.counted("sockets_moved_total"), await gateway.counted("draining")) == (1, 1)
        assert said["deadline_in_s"] < 19.9, "the deadline is that of the first order"
        assert (await gateway.order("/shed", '{"viewers": 1}'))[0] == 409
    assert await gateway.ended() == 0


async def test_a_drained_gateway_may_stay_until_it_is_stopped(gateway: Process) -> None:
    gateway.start(notice_s=0)
    await gateway.order("/drain", '{"end": false}')
    await asyncio.sleep(0.3)
    assert (await gateway.leaving())["state"] == "drained"
    assert (await gateway.readiness())[0] == 503
    gateway.signal()
    assert await gateway.ended() == 0


async def test_who_is_left_at_the_deadline_is_told_when_to_come_back(gateway: Process) -> None:
    gateway.start(notice_s=0.2, deadline_s=2)
    async with viewing(gateway.port, "host") as deaf:
        await deaf.hear_a("snapshot")
        gateway.signal()
        await deaf.hear_a("moved")
        code, reason = await closing(deaf)
        assert code == 4000
        assert 500 <= reason["retry_in_ms"] <= 3_000
    assert await gateway.ended() == 0


async def test_a_plotly_stream_ends_when_its_turn_has_come(gateway: Process) -> None:
    gateway.start(notice_s=0.2)
    async with plotting(gateway.port, "dashboard=host&panel=cpu") as stream:
        await stream.recv()
        gateway.signal()
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                await stream.recv()
        assert caught.value.rcvd
        assert caught.value.rcvd.code == 4000
        assert json.loads(caught.value.rcvd.reason)["retry_in_ms"] <= 1_000
    assert await gateway.ended() == 0


async def test_an_event_stream_ends_with_advice_and_its_reader_goes_on_elsewhere(gateway: Process, valkey: Valkey) -> None:
    gateway.start(notice_s=0.2)
    path = "/api/v1/dashboards/host/events"
    async with listening(gateway.port, path) as listener:
        await listener.until(lambda: listener.last_id)
        await gateway.order("/drain")
        while await listener.hear():
            pass
        assert 0 < listener.retry < 1_000
        async with serving(valkey.url) as other:
            await until(other.readiness)
            async with listening(other.port, path, listener.last_id, listener.screen) as resumed:
                await resumed.until(lambda: resumed.kinds)
                assert resumed.kinds == ["delta"]
    assert await gateway.ended() == 0


async def test_a_connection_that_is_kept_open_for_requests_ends_with_the_next_answer(gateway: Process) -> None:
    gateway.start(deadline_s=5)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_S)
    try:
        for ended in (False, True):
            connection.request("GET", "/api/v1/dashboards")
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, answer.will_close) == (200, ended)
            await gateway.order("/drain")
    finally:
        connection.close()


async def test_a_shed_takes_from_each_dashboard_its_share_and_stays_ready(gateway: Process) -> None:
    gateway.start()
    async with AsyncExitStack() as stack:
        names = ["host"] * 8 + ["other"] * 4
        screens = [await stack.enter_async_context(viewing(gateway.port, name)) for name in names]
        for screen in screens:
            await screen.hear_a("snapshot")
        status, said = await gateway.order("/shed", '{"viewers": 3, "per_second": 20}')
        assert (status, said) == (202, {"viewers": 3, "of": 12, "per_second": 20.0, "seconds": 0.1})
        told = await asyncio.gather(*map(told_to_move, screens))
        assert [told[:8].count(True), told[8:].count(True)] == [2, 1]
        assert await gateway.counted("sockets_moved_total") == 3
        assert await gateway.readiness() == (200, "ok\n")
        assert (await gateway.order("/shed", '{"viewers": 100}'))[1]["viewers"] == 9, "not those who were just told"


BAD = {
    "": "not an order: Input data was truncated",
    "twenty": "not an order: JSON is malformed: invalid character (byte 4)",
    "[]": "not an order: Expected `object`, got `array`",
    "{}": "not an order: Object missing required field `viewers`",
    '{"viewers": 0}': "not an order: Expected `int` >= 1 - at `$.viewers`",
    '{"viewers": "3"}': "not an order: Expected `int`, got `str` - at `$.viewers`",
    '{"viewers": 3, "per_second": 0}': "not an order: Expected `float` >= 0.01 - at `$.per_second`",
    '{"viewers": 3, "persecond": 1}': "not an order: Object contains unknown field `persecond`",
    '{"viewers": 3}' + " " * 5_000: "an order has 4,096 bytes at most",
}


async def test_what_is_not_an_order_is_refused_with_the_reason(gateway: Process) -> None:
    gateway.start()
    for body, reason in BAD.items():
        status, said = await gateway.order("/shed", body)
        assert (status, said["error"]) == (400, {"code": "bad_request", "reason": reason}), body[:40]
    status, said = await gateway.order("/drain", '{"end": "no"}')
    assert (status, said["error"]["reason"]) == (400, "not an order: Expected `bool`, got `str` - at `$.end`")
    status, said = await gateway.order("/drain", Origin="http://evil.example")
    assert (status, said["error"]["code"]) == (403, "forbidden")
    assert await gateway.readiness() == (200, "ok\n")


async def test_a_gateway_with_nowhere_to_hand_viewers_to_stops_at_once(gateway: Process) -> None:
    gateway.start(deadline_s=0)
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        gateway.signal()
        assert (await closing(screen))[0] == 4000
    assert await gateway.ended() == 0


def _post(port: int, path: str, body: str, headers: dict[str, str]) -> tuple[int, Message]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


async def until_unready(gateway: Process) -> None:
    for _ in range(round(PATIENCE_S / 0.02)):
        if (await gateway.readiness())[0] != 200:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it is still ready")
