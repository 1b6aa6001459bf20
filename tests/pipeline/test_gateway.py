"""The gateway over a real Valkey, seen through an independent WebSocket client."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from services.contract import names
from services.contract.registry import Fault
from services.gateway.service import Gateway
from services.gateway.stage import LINGER_MS
from services.gateway.websocket import NOTSENT_BYTES
from services.transport.registry import delete_entry, write_entry
from tests.pipeline.gateway_world import (
    LIVE,
    PATIENCE_S,
    Pen,
    beating,
    desk,
    document,
    entry,
    now_ms,
    panel,
    request,
    serving,
    view_ids,
    viewing,
)
from tests.servers import Valkey

HOST = document("host", panel("cpu", "cpu_busy"), panel("rx", "rx_bytes", query={"fn": "rate"}))
CPU, RX = view_ids(HOST)


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with desk(valkey.url) as found:
        await write_entry(found, entry(HOST))
        yield found


@pytest.fixture
async def gateway(valkey: Valkey, redis: Redis) -> AsyncIterator[Gateway]:
    async with serving(valkey.url) as found:
        yield found


def recent(ago: int = 0) -> int:
    """The start of the bucket so many seconds ago."""
    return (now_ms() // 1_000 - ago) * 1_000


async def test_a_viewer_gets_a_snapshot_and_then_what_changes(gateway: Gateway, redis: Redis) -> None:
    cpu, rx = Pen(redis, CPU), Pen(redis, RX)
    old, new = recent(3), recent(2)
    await cpu.write({(old, "0"): 0.25, (old, "1"): 0.5}, closed=new)
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        assert screen.table(CPU) == cpu.truth()
        assert screen.snapshot["title"] == "Host"
        assert [line["view"] for shown in screen.snapshot["panels"] for line in shown["lines"]] == [0, 1]
        await cpu.write({(new, "0"): 0.75, (new, "2"): 0.125}, closed=new + 1_000)
        await rx.write({(new, "0"): 7}, closed=new)
        await screen.until(lambda: screen.versions.get(CPU) == cpu.version and screen.versions.get(RX) == rx.version)
        assert screen.table(CPU) == cpu.truth()
        assert screen.table(RX) == rx.truth()
        assert screen.groups[CPU] == {0: {"cpu": "0"}, 1: {"cpu": "1"}, 2: {"cpu": "2"}}
        assert screen.closed[CPU] == new + 1_000


async def test_the_kernel_holds_little_that_it_has_not_sent(gateway: Gateway) -> None:
    async with viewing(gateway.port, "host") as screen:
        await screen.hear()
        (viewer,) = gateway.sockets
        wire = viewer.transport.get_extra_info("socket")
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOTSENT_BYTES
        assert viewer.transport.get_write_buffer_limits() == (0, 0)


async def test_a_delta_carries_changed_cells_and_no_others(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    start = recent(2)
    await cpu.write({(start, "0"): 0.25, (start, "1"): 0.5})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        before = cpu.version
        await cpu.write({(start, "1"): 0.75})
        while not (message := await screen.hear_a("delta"))["views"]:
            pass
        assert message["views"] == [[0, before, cpu.version, 0, [], [[start, [1], [0.75]]]]]


async def test_who_comes_back_gets_exactly_what_changed_meanwhile(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    start = recent(5)
    await cpu.write({(start, "0"): 1, (start, "1"): 1})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
    first = await cpu.write({(start, "1"): 2})
    second = await cpu.write({(start + 1_000, "9"): 3})
    async with viewing(gateway.port, "host", screen.since, screen=screen):
        message = await screen.hear()
        assert message["type"] == "delta"
        place, from_, to, _, groups, cells = message["views"][0]
        assert (place, from_, to) == (0, first.prev, second.version)
        assert cells == [[start, [1], [2.0]], [start + 1_000, [2], [3.0]]]
        assert [2, {"cpu": "9"}] in groups
        assert screen.table(CPU) == cpu.truth()


async def test_who_comes_back_to_another_gateway_gets_the_same(valkey: Valkey, gateway: Gateway, redis: Redis) -> None:
    cpu, start = Pen(redis, CPU), recent(5)
    await cpu.write({(start, "0"): 1, (start, "1"): 1})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
    await cpu.write({(start, "1"): 2})
    async with serving(valkey.url) as other, viewing(other.port, "host", screen.since, screen=screen):
        message = await screen.hear()
        assert (message["type"], message["views"][0][5]) == ("delta", [[start, [1], [2.0]]])


async def test_who_comes_back_from_another_epoch_gets_a_snapshot(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    await cpu.write({(recent(2), "0"): 1})
    async with viewing(gateway.port, "host", {"epoch": "other", "versions": {CPU: 1}}) as screen:
        assert (await screen.hear())["type"] == "snapshot"
        assert screen.table(CPU) == cpu.truth()


async def test_a_message_that_is_lost_is_found_in_history(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    start = recent(3)
    await cpu.write({(start, "0"): 1})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        await cpu.write({(start, "0"): 2, (start, "7"): 7}, publish=False)
        await cpu.write({(start + 1_000, "0"): 3})
        await screen.until(lambda: screen.versions[CPU] == cpu.version)
        assert screen.table(CPU) == cpu.truth()
        assert len([message for message in screen.messages if message["type"] == "snapshot"]) == 1


async def test_a_history_that_begins_anew_is_another_snapshot(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    start = recent(3)
    await cpu.write({(start, "0"): 1, (start, "1"): 1})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        await redis.delete(*(names.view_key(CPU, part) for part in ("meta", "rows", "groups", "buckets", "versions")))
        cpu.begin("e2")
        await cpu.write({(start, "5"): 5})
        await screen.hear_a("snapshot")
        assert screen.table(CPU) == cpu.truth()
        assert screen.groups[CPU] == {0: {"cpu": "5"}}


async def test_a_view_that_begins_while_it_is_watched_shows(gateway: Gateway, redis: Redis) -> None:
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        assert screen.table(CPU) == {}
        cpu = Pen(redis, CPU)
        await cpu.write({(recent(1), "0"): 1})
        await screen.until(lambda: screen.table(CPU) == cpu.truth())


async def test_values_that_are_none_are_null(gateway: Gateway, redis: Redis) -> None:
    start = recent(2)
    await Pen(redis, CPU).write({(start, "0"): float("nan"), (start, "1"): 1})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        assert screen.table(CPU) == {start: {0: None, 1: 1.0}}


async def test_a_changed_dashboard_shows_without_a_new_subscription(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    await cpu.write({(recent(2), "0"): 1})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        changed = document("host", panel("mem", "memory"), panel("cpu", "cpu_busy"), title="Other")
        await write_entry(redis, entry(changed, "r2"))
        await screen.hear_a("snapshot", title="Other")
        assert screen.snapshot["views"][1]["id"] == CPU
        assert screen.table(CPU) == cpu.truth()
        await cpu.write({(recent(1), "0"): 2})
        await screen.until(lambda: screen.versions[CPU] == cpu.version)


async def test_a_document_that_broke_keeps_its_last_good_version_on_the_screen(gateway: Gateway, redis: Redis) -> None:
    fault = Fault("spec.panels[0].query.fn", "'avgg' is not a function", 12, "host.yaml")
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        await write_entry(redis, entry(HOST, "r1", fault))
        await screen.until(lambda: len(screen.messages) > 3)
        assert {message["type"] for message in screen.messages} == {"snapshot", "delta"}
        status, _, body = await request(gateway.port, "/api/v1/dashboards")
        assert (status, json.loads(body)["dashboards"][0]["fault"]["line"]) == (200, 12)


async def test_a_dashboard_that_never_was_good_says_where_it_is_wrong_and_then_shows(gateway: Gateway, redis: Redis) -> None:
    fault = Fault("spec.panels[0].query.fn", "'avgg' is not a function", 12, "new.yaml")
    await write_entry(redis, entry(None, "r1", fault, "new"))
    async with viewing(gateway.port, "new") as screen:
        message = await screen.hear_a("error", code="broken_dashboard")
        assert (message["path"], message["line"], message["source"]) == (fault.path, 12, "new.yaml")
        await write_entry(redis, entry(document("new", panel("cpu", "cpu_busy")), "r2"))
        await screen.hear_a("snapshot", dashboard="new")


async def test_an_unknown_dashboard_is_said_so_and_shows_when_it_is_there(gateway: Gateway, redis: Redis) -> None:
    async with viewing(gateway.port, "later") as screen:
        await screen.hear_a("error", code="unknown_dashboard", dashboard="later")
        await screen.hear_a("delta", dashboard="later", epoch="", views=[])
        await write_entry(redis, entry(document("later", panel("cpu", "cpu_busy"))))
        await screen.hear_a("snapshot", dashboard="later")
        await delete_entry(redis, "later")
        await screen.hear_a("error", code="unknown_dashboard", dashboard="later")


async def test_several_dashboards_share_one_socket(gateway: Gateway, redis: Redis) -> None:
    await write_entry(redis, entry(document("other", panel("cpu", "cpu_busy"))))
    async with viewing(gateway.port, "host") as screen:
        await screen.subscribe("other")
        seen = {(await screen.hear_a("snapshot"))["dashboard"] for _ in range(2)}
        assert seen == {"host", "other"}
        await screen.say({"type": "unsubscribe", "dashboard": "host"})
        await screen.say({"type": "ping"})
        await screen.hear_a("pong")
        left = len(screen.messages)
        await Pen(redis, CPU).write({(recent(1), "0"): 1})
        await screen.hear_a("snapshot", dashboard="other")
        for _ in range(2):  # signs of life are sent for each dashboard
            await screen.hear_a("delta", dashboard="other")
        assert {message["dashboard"] for message in screen.messages[left:]} == {"other"}


async def subscribers(redis: Redis, view: str) -> int:
    """Connections that hear of a view."""
    ((_, count),) = await redis.pubsub_numsub(names.view_channel(view))
    return int(count)


async def test_a_view_is_subscribed_once_however_many_watch_it_and_for_a_while_after_the_last_one(
    gateway: Gateway, redis: Redis
) -> None:
    """Two dashboards show it, each to some viewers."""
    await write_entry(redis, entry(document("other", panel("mem", "memory"), panel("cpu", "cpu_busy"))))
    cpu = Pen(redis, CPU)
    await cpu.write({(recent(2), "0"): 1})
    async with AsyncExitStack() as stack:
        boards = ("host", "other", "host", "other", "other")
        screens = [await stack.enter_async_context(viewing(gateway.port, board)) for board in boards]
        for screen in screens:
            await screen.hear_a("snapshot")
            await screen.until(lambda screen=screen: screen.table(CPU) == cpu.truth())  # type: ignore[misc]
        assert await subscribers(redis, CPU) == 1
        await cpu.write({(recent(1), "0"): 2})
        for screen in screens:
            await screen.until(lambda screen=screen: screen.versions[CPU] == cpu.version)  # type: ignore[misc]
    left = time.monotonic()
    for _ in range(1_500):
        if not await subscribers(redis, CPU):
            break
        await asyncio.sleep(0.02)
    assert await subscribers(redis, CPU) == 0
    assert time.monotonic() - left > LINGER_MS / 1_000 - 0.5, "a page that is reloaded finds everything still there"


async def test_a_hundred_viewers_get_the_same_frames(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    start = recent(3)
    await cpu.write({(start, "0"): 0})
    async with AsyncExitStack() as stack:
        screens = [await stack.enter_async_context(viewing(gateway.port, "host")) for _ in range(100)]
        for screen in screens:
            await screen.hear_a("snapshot")
        for value in range(1, 4):
            await cpu.write({(start, "0"): value, (start + 1_000, str(value)): value})
            for screen in screens:
                await screen.until(lambda screen=screen: screen.versions[CPU] == cpu.version)  # type: ignore[misc]
        assert all(screen.table(CPU) == cpu.truth() for screen in screens)
        told = [[frame for frame in screen.frames if '"cells"' not in frame and '"views":[[' in frame] for screen in screens]
        assert told[0]
        assert all(frames == told[0] for frames in told)


@pytest.mark.parametrize("text", ["", "hello", "{}", '{"type":"subscribe"}', '{"type":"ping","x":' + "1" * 5_000 + "}"])
async def test_what_is_not_understood_is_answered_and_the_socket_stays_open(gateway: Gateway, text: str) -> None:
    async with viewing(gateway.port) as screen:
        await screen.socket.send(text)
        if "ping" not in text:
            assert (await screen.hear_a("error"))["code"] == "bad_message"
        await screen.say({"type": "ping"})
        await screen.hear_a("pong")


async def test_binary_and_too_long_messages_close_the_socket(gateway: Gateway) -> None:
    for message, code in ((b"\0", 4500), ("x" * 9_000, 1009)):
        async with viewing(gateway.port) as screen:
            await screen.socket.send(message)
            with pytest.raises(ConnectionClosed) as caught:
                await screen.hear()
            assert caught.value.rcvd
            assert caught.value.rcvd.code == code


async def test_who_does_not_offer_the_subprotocol_is_told_not_to_come_back(gateway: Gateway) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/api/v1/live") as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd
        assert caught.value.rcvd.code == 4501


async def test_pages_of_other_hosts_may_not_connect_unless_settings_say_so(valkey: Valkey, gateway: Gateway) -> None:
    async def open_from(port: int, origin: str) -> None:
        url = f"ws://127.0.0.1:{port}/api/v1/live"
        async with connect(url, origin=Origin(origin), subprotocols=[Subprotocol(LIVE)]):
            pass

    await open_from(gateway.port, f"http://127.0.0.1:{gateway.port}")
    with pytest.raises(InvalidStatus) as caught:
        await open_from(gateway.port, "http://evil.example")
    assert caught.value.response.status_code == 403
    async with serving(valkey.url, origins=("*",)) as open_gateway:
        await open_from(open_gateway.port, "http://evil.example")


async def test_aggregators_hear_what_is_watched_and_nothing_is_subscribed_while_nobody_watches(
    gateway: Gateway, redis: Redis
) -> None:
    assert await redis.pubsub_channels("*view*") == []
    assert await redis.zcard(names.WATCHED) == 0
    async with redis.pubsub() as ear:
        await ear.subscribe(names.WATCHED_CHANNEL)
        await ear.get_message(timeout=PATIENCE_S)
        async with viewing(gateway.port, "host") as screen:
            await screen.hear_a("snapshot")
            told = await ear.get_message(timeout=PATIENCE_S)
            assert told
            assert set(told["data"].decode().split()) == {CPU, RX}
            for view in (CPU, RX):
                until = await redis.zscore(names.WATCHED, view)
                assert until
                assert now_ms() < until <= now_ms() + 5_000
            assert len(await redis.pubsub_channels("*view*")) == 2


async def test_a_log_that_is_away_is_said_so_and_its_return_too(gateway: Gateway, redis: Redis) -> None:
    await Pen(redis, CPU).write({(recent(-60), "0"): 1})  # newer than now, so that samples are not missed
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        async with beating(redis, "other", None, "Kafka is away"):
            status = await screen.hear_a("status", stale=True)
            assert [(part["part"], part["reason"]) for part in status["parts"]] == [("log", "Kafka is away")]
        assert (await screen.hear_a("status"))["parts"] == []


async def test_samples_that_stop_are_said_so(gateway: Gateway, redis: Redis) -> None:
    await Pen(redis, CPU).write({(recent(30), "0"): 1})
    async with viewing(gateway.port, "host") as screen:
        status = await screen.hear_a("status", stale=True)
        assert status["parts"][0]["part"] == "samples"
        assert status["age_ms"] > 25_000
        async with viewing(gateway.port, "host") as late:
            await late.hear_a("snapshot")
            assert (await late.hear())["type"] == "status", "who comes while something is away is told, too"


async def test_a_viewer_hears_something_every_second(gateway: Gateway) -> None:
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        times = [(await screen.hear_a("delta"))["now"] for _ in range(3)]
        assert all(b - a <= 1_500 for a, b in pairwise(times))


async def test_valkey_may_die_and_come_back_empty_under_a_viewer(gateway: Gateway, valkey: Valkey, redis: Redis) -> None:
    """Last values stay on the screen, the viewer is told, and what is written afterwards shows without its doing."""
    cpu = Pen(redis, CPU)
    start = recent(2)
    await cpu.write({(start, "0"): 1})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        valkey.kill()
        status = await screen.hear_a("status", stale=True)
        assert status["parts"][0]["part"] == "feed"
        await screen.hear_a("delta")
        assert screen.table(CPU) == cpu.truth()
        assert gateway.readiness() == ""
        valkey.start()
        await write_entry(redis, entry(HOST))
        cpu.begin("e2")
        await cpu.write({(start, "0"): 2, (start + 1_000, "0"): 3})
        await screen.hear_a("status", stale=False)
        await screen.until(lambda: screen.table(CPU) == cpu.truth())
        assert "error" not in {message["type"] for message in screen.messages}
        await cpu.write({(start + 2_000, "0"): 4})
        await screen.until(lambda: screen.versions[CPU] == cpu.version)


async def test_what_was_written_while_the_connection_was_cut_is_found(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    start = recent(2)
    await cpu.write({(start, "0"): 1})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        await redis.client_kill_filter(_type="pubsub")
        await cpu.write({(start, "0"): 2}, publish=False)
        await screen.until(lambda: screen.versions[CPU] == cpu.version)
        assert screen.table(CPU) == cpu.truth()


async def test_a_gateway_may_start_before_valkey(valkey: Valkey, redis: Redis) -> None:
    valkey.kill()
    async with serving(valkey.url) as gateway, viewing(gateway.port, "host") as screen:
        assert "registry" in gateway.readiness()
        await screen.hear_a("delta", epoch="")
        status, _, _ = await request(gateway.port, "/api/v1/dashboards")
        assert status == 503
        valkey.start()
        await write_entry(redis, entry(HOST))
        await screen.hear_a("snapshot")
        assert gateway.readiness() == ""


async def test_sigterm_tells_viewers_when_to_come_back(valkey: Valkey, redis: Redis) -> None:
    environ = {**os.environ, "REDIS_URL": valkey.url, "TIDEBOARD_GATEWAY_PORT": "0", "TIDEBOARD_ADMIN_PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services", "gateway", cwd=Path(__file__).parents[2], env=environ, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with viewing(await _port_in_log(process), "host") as screen:
            await screen.hear_a("snapshot")
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await screen.hear()
            assert caught.value.rcvd
            assert caught.value.rcvd.code == 4000
            assert json.loads(caught.value.rcvd.reason)["retry_in_ms"] > 0
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _port_in_log(process: asyncio.subprocess.Process) -> int:
    assert process.stderr
    while line := await asyncio.wait_for(process.stderr.readline(), PATIENCE_S):
        if b'"viewers are served"' in line:
            return int(json.loads(line)["port"])
    raise AssertionError("the gateway did not start")
