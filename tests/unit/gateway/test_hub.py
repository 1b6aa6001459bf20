"""The hub's clock under more viewers than it can write to."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import structlog
from msgspec.structs import replace
from prometheus_client import REGISTRY

from services.contract.live import Delta, Status, decode_server, encode
from services.contract.registry import Entry
from services.gateway import metrics
from services.gateway.content import Content
from services.gateway.hub import Hub
from services.gateway.outgoing import Outgoing, outgoing
from services.gateway.recipients import Out, Recipients
from services.gateway.stage import LINGER_MS, Stage
from services.gateway.viewer import Indirect, Viewer
from services.transport import registry
from services.transport.feed import connect
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.test_stage import HOST, NOWHERE, entry

SEND_S = 0.002
LONGEST_S = 0.005  # of sends before others get their turn
VIEWERS = 60  # 120 ms a tick, more than twice the time between two at 20 Hz


class Costly(Indirect):
    """A viewer to whom a message costs much."""

    clogged = False
    deflated = False

    def __init__(self) -> None:
        self.statuses: list[Status] = []
        self.frames = 0

    def send(self, message: Outgoing) -> None:
        until = time.perf_counter() + SEND_S
        while time.perf_counter() < until:
            pass
        self.frames += 1
        if isinstance(said := decode_server(message.payload), Status):
            self.statuses.append(said)

    def close(self, code: int, reason: str = "") -> None:
        """Nobody is closed here."""


async def test_a_hub_that_cannot_keep_up_slows_all_down_evenly_and_says_so() -> None:
    slowed = metrics.PACES.labels("down", "gateway")
    before, overruns = slowed._value.get(), _value("tick_overruns_total")
    hub = Hub(connect(NOWHERE))
    hub.entries = {"host": entry(HOST)}
    viewers = [Costly() for _ in range(VIEWERS)]
    for viewer in viewers:
        hub.subscribe(viewer, "host", None, 20)
    held = next(iter(hub._stages.values())).held
    merges = {item.view: Merge() for item in held}
    ticking = asyncio.create_task(hub._tick_on())
    try:
        async with asyncio.timeout(20):
            while not all(viewer.statuses and viewer.statuses[-1].limit == "gateway" for viewer in viewers):
                for item in held:
                    change = merges[item.view].write({(hub.now() // 1_000 * 1_000, 0): time.monotonic()})
                    if item.loaded:
                        item.state.apply(change)
                    else:
                        item.state.load(merges[item.view].history(), -1)
                        item.loaded, item.whole = True, False
                hub.views.on_changed()
                await asyncio.sleep(0.02)
        assert hub.throttle.full
        assert slowed._value.get() > before
        assert _value("tick_overruns_total") > overruns
        assert {viewer.statuses[-1].hz for viewer in viewers} <= {10, 5, 2.5}
        assert max(viewer.frames for viewer in viewers) - min(viewer.frames for viewer in viewers) <= 3
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def test_a_hub_that_was_too_busy_is_not_so_any_more_when_all_have_left() -> None:
    now = 1_000_000
    hub = Hub(connect(NOWHERE), clock=lambda: now)
    hub.entries = {"host": entry(HOST)}
    viewer = Costly()
    hub.subscribe(viewer, "host", None, 20)
    for _ in range(100):
        now += 100
        hub._observe(0.1)
    assert (hub.throttle.full, hub.throttle.factor, _value("throttle_factor")) == (True, 8, 8)
    ticking = asyncio.create_task(hub._tick_on())
    try:
        hub.unsubscribe(viewer, "host")
        now += LINGER_MS + 1
        for _ in range(2_000):
            if not (hub._stages or hub.throttle.full):
                break
            await asyncio.sleep(0.01)
        assert (hub.throttle.factor, _value("throttle_factor"), _value("tick_busy_ratio")) == (1, 1, 0)
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def test_others_have_their_turn_also_where_everybody_is_sent_something_else() -> None:
    hub = Hub(connect(NOWHERE))
    viewers = [Costly() for _ in range(VIEWERS)]
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    for viewer in viewers:
        await hub.writer.write(Out(outgoing(Delta("host", "", 0, [])), Recipients([viewer])))
    running.cancel()
    assert turns >= VIEWERS * SEND_S / LONGEST_S / 2


class Broken(Costly):
    """A viewer to whom nothing can be sent."""

    closed = 0

    def send(self, message: Outgoing) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")

    def close(self, code: int, reason: str = "") -> None:
        self.closed = code


async def test_who_cannot_be_written_to_is_closed_and_harms_nobody() -> None:
    hub = Hub(connect(NOWHERE))
    before, broken, after = Costly(), Broken(), Costly()
    await hub.writer.write(Out(outgoing(Delta("host", "", 0, [])), Recipients([before, broken, after])))
    assert (before.frames, broken.closed, after.frames) == (1, 1011, 1)


class Unmakeable(Outgoing):
    """A message of which no frame can be made."""

    def frame(self, deflated: bool) -> bytes:
        raise MemoryError


class Straight(Broken):
    """One whose socket frames are written to."""

    fd = 2**20


async def test_a_frame_that_cannot_be_made_closes_who_would_have_had_it_and_harms_nobody() -> None:
    hub = Hub(connect(NOWHERE))
    there, after = Straight(), Costly()
    there.deflated = True
    await hub.writer.write(Out(Unmakeable("delta", b"{}"), Recipients([there])))
    await hub.writer.write(Out(outgoing(Delta("host", "", 0, [])), Recipients([after])))
    assert (there.closed, after.frames) == (1011, 1)


class Hopeless(Broken):
    """One that cannot be closed, either."""

    def close(self, code: int, reason: str = "") -> None:
        super().close(code, reason)
        raise RuntimeError("unable to perform operation; the handler is closed")


async def test_who_cannot_be_closed_either_harms_nobody() -> None:
    hub = Hub(connect(NOWHERE))
    broken, after = Hopeless(), Costly()
    await hub.writer.write(Out(outgoing(Delta("host", "", 0, [])), Recipients([broken, after])))
    assert (broken.closed, after.frames) == (1011, 1)


async def test_who_cannot_be_counted_as_missed_is_closed_and_harms_nobody() -> None:
    def missed(viewer: Viewer) -> None:
        raise KeyError(viewer)

    hub = Hub(connect(NOWHERE))
    clogged, after = Broken(), Costly()
    clogged.clogged = True
    await hub.writer.write(Out(outgoing(Delta("host", "", 0, [])), Recipients([clogged, after]), missed))
    assert (clogged.closed, after.frames) == (1011, 1)


async def test_a_tick_that_fails_as_a_whole_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(connect(NOWHERE))
    hub.entries = {"host": entry(HOST)}
    hub.subscribe(Costly(), "host", None, 20)
    swept: list[int] = []
    again = asyncio.Event()

    def sweep(now: int) -> None:
        swept.append(now)
        if len(swept) == 1:
            raise RuntimeError("of a kind that nobody thought of")
        again.set()

    monkeypatch.setattr(hub, "_sweep", sweep)
    ticking = asyncio.create_task(hub._tick_on())
    try:
        async with asyncio.timeout(20):
            await again.wait()
        assert not ticking.done()
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def test_a_hub_that_cannot_tell_when_the_next_tick_is_due_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(connect(NOWHERE))
    hub.entries = {"host": entry(HOST)}
    hub.subscribe(Costly(), "host", None, 20)
    before = _faults("tick")
    asked = 0
    again = asyncio.Event()

    def due_at(_: Stage) -> float | None:
        nonlocal asked
        asked += 1
        if asked == 2:
            again.set()
        raise RuntimeError("of a kind that nobody thought of")

    monkeypatch.setattr(Stage, "due_at", due_at)
    ticking = asyncio.create_task(hub._tick_on())
    try:
        async with asyncio.timeout(20):
            await again.wait()
        assert not ticking.done()
        assert _faults("tick") > before
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def test_what_fails_again_and_again_is_counted_each_time_and_told_now_and_then() -> None:
    hub = Hub(connect(NOWHERE))
    before = _faults("viewer")
    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            await hub.writer.write(Out(outgoing(Delta("host", "", 0, [])), Recipients([Hopeless() for _ in range(100)])))
    assert _faults("viewer") - before == 600, "neither written to nor closed"
    assert [entry["event"] for entry in told] == ["a viewer could not be written to", "a viewer could not be closed"]


def _faults(of: str) -> float:
    return REGISTRY.get_sample_value("tideboard_gateway_faults_total", {"of": of}) or 0.0


async def test_how_new_and_how_much_is_counted_for_each_viewer_that_got_it() -> None:
    hub = Hub(connect(NOWHERE), clock=lambda: 10_000)
    away = Costly()
    away.clogged = True
    message = Outgoing(
        "delta",
        encode(Delta("host", "", 0, [])),
        content=Content(cells=3, overtaken=5, newest=9_600, panels=((9_600, 1), (2_000, 2))),
    )
    viewers = [Costly() for _ in range(2)]
    before = {name: _value(name) for name in COUNTED}
    await hub.writer.write(Out(message, Recipients([*viewers, away])))
    gained = {name: _value(name) - before[name] for name in COUNTED}
    assert gained == {
        "cells_total": 6, "cells_coalesced_total": 10, "viewer_freshness_seconds_count": 2, "panel_freshness_seconds_count": 3,
    }  # fmt: skip


async def test_what_nobody_could_be_sent_is_as_new_as_nothing() -> None:
    hub = Hub(connect(NOWHERE), clock=lambda: 10_000)
    away = Costly()
    away.clogged = True
    before = {name: _value(name) for name in COUNTED}
    await hub.writer.write(Out(Outgoing("delta", b"{}", content=Content(3, 5, 9_600, ((9_600, 1),))), Recipients([away])))
    assert {name: _value(name) for name in COUNTED} == before


COUNTED = ("cells_total", "cells_coalesced_total", "viewer_freshness_seconds_count", "panel_freshness_seconds_count")


def _value(name: str) -> float:
    return REGISTRY.get_sample_value(f"tideboard_gateway_{name}") or 0.0


async def test_a_dashboard_that_cannot_be_shown_does_not_keep_others_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def watched(*_: object) -> AsyncIterator[dict[str, Entry]]:
        for revision in ("r1", "r2"):
            yield {"bad": replace(entry(HOST, revision), name="bad"), "host": entry(HOST, revision)}

    def show(stage: Stage, entry: Entry | None, now: int) -> None:
        shown.append((stage.name, entry.revision if entry else None))
        if stage.name == "bad":
            raise RuntimeError("of a kind that nobody thought of")

    shown: list[tuple[str, str | None]] = []
    monkeypatch.setattr(registry, "watch", watched)
    hub = Hub(connect(NOWHERE))
    for name in ("bad", "host"):
        hub.subscribe(Costly(), name, None, 10)
    monkeypatch.setattr(Stage, "show", show)
    await hub._follow()
    assert shown == [("bad", "r1"), ("host", "r1"), ("bad", "r2"), ("host", "r2")]


async def test_a_viewer_that_can_neither_be_written_to_nor_closed_is_not_tried_for_ever() -> None:
    hub = Hub(connect(NOWHERE))
    hub.entries = {"host": entry(HOST)}
    viewer = Hopeless()
    hub.subscribe(viewer, "host", None, 10)
    await hub.writer.write(Out(outgoing(Delta("host", "", 0, [])), Recipients([viewer])))
    assert not len(hub._stages["host"].audience)
