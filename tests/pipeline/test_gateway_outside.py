"""What a gateway shows to those who run it: its metrics and its status, as they are read."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.transport.registry import write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.conformance.peer import TEXT, Frame, Peer, request
from tests.gateway_process import GatewayProcess, running
from tests.pipeline.gateway_world import Pen, Screen, desk, document, entry, metrics_at, now_ms, panel, view_ids, viewing
from tests.pipeline.world import Log, aggregating
from tests.servers import Valkey
from tests.unit.gateway.masked import frame

HOST = document("host", panel("cpu", "cpu_busy"))
OTHER = document("other", panel("cpu", "cpu_other"))
(CPU,) = view_ids(HOST)


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with desk(valkey.url) as found:
        await write_entry(found, entry(HOST), entry(OTHER))
        yield found


@pytest.fixture
def gateway(valkey: Valkey, redis: Redis, tmp_path: Path) -> Iterator[GatewayProcess]:
    with running(GatewayProcess(valkey.url, tmp_path)) as found:
        yield found


def metrics(gateway: GatewayProcess) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, values of its labels) -> value."""
    return metrics_at(gateway.admin)


async def test_metrics_say_who_watches_what_at_which_rate_and_what_it_costs(gateway: GatewayProcess, redis: Redis) -> None:
    pen = Pen(redis, CPU)
    async with (
        viewing(gateway.port, "host") as screen,
        viewing(gateway.port, "nobody-knows-me"),
        viewing(gateway.port) as paused,
    ):
        await paused.say({"type": "subscribe", "dashboard": "host", "hz": 0})
        for one in (screen, paused):
            await one.hear_a("snapshot")
        for turn in range(5):
            start = (now_ms() // 1_000 - 1) * 1_000
            await pen.write({(start, str(line)): float(turn) for line in range(100)}, closed=start)
            await screen.until(lambda: screen.versions.get(CPU) == pen.version)
        await asyncio.sleep(1.5)
        found = await asyncio.to_thread(metrics, gateway)
    assert (found["viewers_by_rate", ("host", "10")], found["viewers_by_rate", ("host", "0")]) == (1, 1)
    assert not any("nobody-knows-me" in labels for _, labels in found), "names that viewers make up are no time series"
    assert (found["sockets", ()], found["sockets_accepted_total", ()], found["handshake_seconds_count", ()]) == (3, 3, 3)
    assert found["frames_total", ("delta",)] >= 5 and found["frames_total", ("snapshot",)] >= 1
    assert found["payload_bytes_total", ()] > 0
    assert found["panel_age_seconds_count", ()] >= 1 and found["delay_seconds_count", ()] >= 1
    assert found["viewer_freshness_seconds_count", ()] == _with_cells(screen)
    assert 0 < found["viewer_freshness_seconds_sum", ()] < 60 * found["viewer_freshness_seconds_count", ()]
    assert found["panel_freshness_seconds_count", ()] >= 5
    assert found["cells_total", ()] == 500, "everybody came before there was anything, and one of them is paused"
    assert found["resident_bytes_per_viewer", ()] > 0 and found["waiting_bytes", ()] == 0
    assert found["ticks_total", ()] >= 5 and found["throttle_factor", ()] == 1
    assert found["tick_seconds_count", ()] == found["ticks_total", ()] and found["tick_seconds_sum", ()] > 0
    longer = found["tick_seconds_count", ()] - found["tick_seconds_bucket", ("0.05",)]
    assert found["tick_overruns_total", ()] == longer, "than the time between two frames of the fastest rate"
    assert found["gc_pause_seconds_count", ("2",)] >= 1, "what was needed to start is collected, and then frozen"
    after = await asyncio.to_thread(_when_gone, gateway)
    assert after["sockets_closed_total", ("1000",)] == 3
    assert ("viewers_by_rate", ("host", "10")) not in after, "a dashboard that nobody watches is no time series either"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "deflated"])
async def test_bytes_are_counted_before_compression_and_as_they_are_written(
    gateway: GatewayProcess, redis: Redis, packed: bool
) -> None:
    pen, start = Pen(redis, CPU), now_ms() // 1_000 * 1_000
    offer = {"sec_websocket_extensions": "permessage-deflate"} if packed else {}
    with await asyncio.to_thread(Peer, gateway.port) as peer:
        await asyncio.to_thread(peer.open, **offer)
        peer.send(frame(TEXT, b'{"type":"subscribe","dashboard":"host","hz":20}'))
        heard = [await asyncio.to_thread(peer.hear)]
        for turn in range(5):
            await pen.write({(start, f"core {line}"): turn + line / 7 for line in range(300)})
            while len(heard) < turn + 2:  # the first of them is another snapshot: the view has begun
                heard.append(await _hear_more(peer))
        found = await asyncio.to_thread(metrics, gateway)
    payloads, bytes_ = found["payload_bytes_total", ()], found["frame_bytes_total", ()]
    frames = sum(value for (name, _), value in found.items() if name == "frames_total")
    assert all(one.compressed == packed for one in heard[1:])
    assert payloads >= sum(len(one.text) for one in heard)
    assert bytes_ >= sum(len(one.payload) for one in heard)
    if packed:
        assert bytes_ < 0.7 * payloads
    else:
        assert payloads + 2 * frames <= bytes_ <= payloads + 10 * frames, "a head has two to ten bytes"


async def _hear_more(peer: Peer) -> Frame:
    """The next message with cells."""
    while True:
        heard = await asyncio.to_thread(lambda: next(peer.everything()))
        if heard.opcode == TEXT and heard.message["type"] in ("snapshot", "delta") and heard.message["views"]:
            return heard


async def test_who_comes_back_and_who_is_refused_is_counted_by_what_it_was_answered(
    gateway: GatewayProcess, redis: Redis
) -> None:
    await Pen(redis, CPU).write({((now_ms() // 1_000 - 1) * 1_000, "0"): 1.0})
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
    for _ in range(2):
        async with viewing(gateway.port, "host", screen.since, screen=screen):
            await screen.hear_a("delta")
    async with viewing(gateway.port, "host", {"epoch": "another", "versions": {}}) as stranger:
        await stranger.hear_a("snapshot")
    for wrong in (request("/api/v1/nothing"), request(origin="http://evil.example"), request(sec_websocket_version="12")):
        with await asyncio.to_thread(Peer, gateway.port) as peer:
            await asyncio.to_thread(peer.ask, wrong)
    found = await asyncio.to_thread(metrics, gateway)
    assert (found["resumes_total", ("delta",)], found["resumes_total", ("snapshot",)]) == (2, 1)
    refused = {labels[0]: value for (name, labels), value in found.items() if name == "sockets_refused_total"}
    assert refused == {"404": 1, "403": 1, "426": 1}


async def test_ticks_stand_still_while_nobody_watches(gateway: GatewayProcess) -> None:
    async def ticks() -> float:
        return (await asyncio.to_thread(metrics, gateway))["ticks_total", ()]

    async with viewing(gateway.port):  # a socket alone is nothing to tick for
        await asyncio.sleep(1.5)
        assert await ticks() == 0
    async with viewing(gateway.port, "host") as screen:
        await screen.hear_a("snapshot")
        for _ in range(3):
            await screen.hear_a("delta")
        watched = await ticks()
        assert watched >= 3
    before, after = 0.0, watched
    for _ in range(40):
        if before == after:
            break
        await asyncio.sleep(1.5)
        before, after = after, await ticks()
    assert before == after > watched, "what has been watched just now is kept a few seconds"


async def test_values_that_a_slow_rate_passes_over_are_counted_one_by_one(gateway: GatewayProcess, redis: Redis) -> None:
    pen = Pen(redis, CPU)
    async with viewing(gateway.port) as screen:
        await screen.say({"type": "subscribe", "dashboard": "host", "hz": 1})
        start = (now_ms() // 1_000 - 1) * 1_000
        await pen.write({(start, "0"): 0.0})
        await screen.until(lambda: screen.versions.get(CPU) == pen.version)
        before = await asyncio.to_thread(metrics, gateway)
        for turn in range(30):
            await pen.write({(start, str(line)): float(turn) for line in range(10)})
            await asyncio.sleep(0.05)
        await screen.until(lambda: screen.versions.get(CPU) == pen.version)
        after = await asyncio.to_thread(metrics, gateway)
    sent, passed = (after[name, ()] - before[name, ()] for name in ("cells_total", "cells_coalesced_total"))
    assert sent + passed == 300 and passed >= 200


async def test_a_sample_that_was_three_seconds_under_way_is_that_old_though_it_arrived_just_now(
    gateway: GatewayProcess, redis: Redis, settings: RedisSettings, kafka: KafkaSettings, log: Log
) -> None:
    """From the log through an aggregator to a socket, beside samples of others that are new; what is made of gauges and of counters."""
    shown = document(
        "slow", panel("load", "load", query={"every": "10s"}), panel("rate", "bytes", query={"every": "10s", "fn": "rate"})
    )
    await write_entry(redis, entry(shown))
    load, rate = view_ids(shown)
    async with aggregating(kafka, settings), viewing(gateway.port, "host"), viewing(gateway.port, "slow") as screen:
        for turn in range(1, 6):
            before, late, labels = dict(screen.versions), now_ms() - 3_000, {"cpu": "0"}
            await log.write(
                [
                    ("load", labels, late, turn, "gauge"),
                    ("bytes", labels, late, turn * turn, "counter"),
                    ("cpu_busy", labels, now_ms(), turn, "gauge"),
                ]
            )
            for view in (load, rate) if turn > 1 else (load,):
                await _until_newer(screen, view, before.get(view, 0))
        found = await asyncio.to_thread(metrics, gateway)
    slow = _with_cells(screen)
    viewers, panels = found["viewer_freshness_seconds_count", ()], found["panel_freshness_seconds_count", ()]
    assert viewers - found["viewer_freshness_seconds_bucket", ("3.0",)] >= slow >= 5
    assert panels - found["panel_freshness_seconds_bucket", ("3.0",)] >= 9
    assert found["viewer_freshness_seconds_bucket", ("2.0",)] >= 1, "what others show is new"


async def _until_newer(screen: Screen, view: str, before: int) -> None:
    await screen.until(lambda: screen.versions.get(view, 0) > before)


def _with_cells(screen: Screen) -> int:
    """Messages that showed something."""
    snapshots = [message for message in screen.messages if message["type"] == "snapshot"]
    deltas = [message for message in screen.messages if message["type"] == "delta"]
    return sum(any(view["cells"] for view in message["views"]) for message in snapshots) + sum(
        any(view[5] for view in message["views"]) for message in deltas
    )


def _when_gone(gateway: GatewayProcess) -> dict[tuple[str, tuple[str, ...]], float]:
    for _ in range(200):
        found = metrics(gateway)
        if not any(name == "viewers_by_rate" for name, _ in found):
            return found
        time.sleep(0.1)
    return metrics(gateway)


async def test_the_status_names_the_most_watched_dashboards_first_and_how_new_they_are(
    gateway: GatewayProcess, redis: Redis
) -> None:
    pen = Pen(redis, CPU)
    await pen.write({((now_ms() // 1_000 - 1) * 1_000, "0"): 1.0})
    async with viewing(gateway.port, "other"), viewing(gateway.port, "host") as screen, viewing(gateway.port, "host"):
        await screen.until(lambda: screen.versions.get(CPU) == pen.version)
        status = await asyncio.to_thread(gateway.status)
    assert list(status["watched"]) == ["host", "other"]
    host = status["watched"]["host"]
    assert (host["viewers"], host["rates"], host["versions"]) == (2, {"10": 2}, {CPU: pen.version})
    assert 0 <= host["lag_ms"] < 10_000
    assert status["watched"]["other"]["lag_ms"] is None
    assert (status["slowest"], status["pace"]["times_slower"]) == ([], 1)
    assert status["sends"] == "compiled", "`make test` sees to it"
