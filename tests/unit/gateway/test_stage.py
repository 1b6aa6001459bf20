"""One dashboard's viewers, with a clock that the test turns and views that are read when the test says so."""

import json
from typing import Any

import pytest

from services.contract import live
from services.contract.live import Since
from services.contract.registry import Entry, Fault
from services.contract.views import Beat
from services.gateway.health import Health
from services.gateway.hub import Hub
from services.gateway.outgoing import Outgoing
from services.gateway.rates import Throttle
from services.gateway.stage import LINGER_MS, PATIENCE_MS, SWITCH_MS, UNTOLD_MS, VANISHED_MS, Stage
from services.gateway.viewer import Indirect
from services.gateway.views import Held, Views
from services.transport.feed import connect
from services.transport.settings import RedisSettings
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.worlds import Client, document, panel, payload

NOWHERE = RedisSettings("redis://127.0.0.1:1/0")
START = 1_000_000_000
WINDOW_MS = 60_000
HOST = document(panel("load", "load"), panel("net", "bytes"))


def entry(spec: dict[str, Any] | None, revision: str = "r1", fault: Fault | None = None) -> Entry:
    return Entry(1, "host", revision, spec, "host.yaml", fault)


class Seat(Indirect):
    """A viewer that remembers."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.closed = 0
        self.clogged = self.deflated = False

    def send(self, message: Outgoing) -> None:
        self.frames.append(message.frame(deflated=False))

    def close(self, code: int, reason: str = "") -> None:
        self.closed = code

    @property
    def heard(self) -> list[str]:
        return [payload(frame)["type"] for frame in self.frames]

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = payload(self.frames[-1])
        return found


class World:
    def __init__(self, shown: Entry | None = None) -> None:
        self.now = START
        self.health = Health(START)
        self.views = Views(connect(NOWHERE), lambda: self.now, lambda reason: None)
        self.throttle = Throttle(START)
        self.stage = Stage("host", self.views, self.health, self.throttle, START)
        self.stage.show(shown or entry(HOST), START)
        self.merges: dict[str, Merge] = {}

    def beat(self) -> None:
        self.health.beats({"a": Beat(self.now, 1)}, self.now)

    def read(self) -> None:
        """The history of every view is read: it is what the merges have."""
        coming = self.stage._coming[1] if self.stage._coming else []
        for held in (*self.stage.held, *coming):
            merge = self.merges.setdefault(held.view, Merge())
            if not merge.version:
                merge.write({(self.now // 1_000 * 1_000, 0): 1.0})
            held.state.load(merge.history(), -1)
            held.loaded, held.whole = True, False

    def fill(self, *held: Held, short_ms: int = 0) -> None:
        """These views are told to be filled."""
        for item in held:
            item.state.apply(self.merges[item.view].fill(WINDOW_MS - short_ms))

    @property
    def coming(self) -> list[Held]:
        """The views that are to be shown and are not yet."""
        shown = {held.view for held in self.stage.held}
        return [held for held in self.stage._coming[1] if held.view not in shown] if self.stage._coming else []

    def write(self, value: float) -> None:
        held = self.stage.held[0]
        held.state.apply(self.merges[held.view].write({(self.now // 1_000 * 1_000, 0): value}))

    def join(self, since: Since | None = None, hz: int = 10) -> Seat:
        """A viewer comes, and the next tick is at once."""
        seat = Seat()
        self.stage.subscribe(seat, since, hz, self.now)
        self.tick()
        return seat

    def tick(self) -> None:
        """As the hub does it."""
        for out in self.stage.tick(self.now):
            for viewer in out.viewers:
                if viewer.clogged:
                    out.missed(viewer)
                else:
                    viewer.send(out.message)

    def pass_(self, ms: int, every_ms: int = 100) -> None:
        """Time, in ticks."""
        for _ in range(ms // every_ms):
            self.now += every_ms
            self.tick()


@pytest.fixture
def world() -> World:
    found = World()
    found.read()
    found.beat()
    return found


def test_who_comes_to_views_that_are_read_is_answered_at_once(world: World) -> None:
    one, two = Seat(), Seat()
    for seat in (one, two):
        world.stage.subscribe(seat, None, 10, world.now)
    assert world.stage.due_at() == 0
    world.tick()
    assert one.heard == two.heard == ["snapshot"]
    assert one.frames[0] is two.frames[0], "it is built once"


def test_a_change_is_one_frame_for_all_and_nothing_is_said_between(world: World) -> None:
    seats = [world.join() for _ in range(3)]
    world.pass_(300)
    world.write(2.0)
    world.pass_(300)
    assert [seat.heard for seat in seats] == [["snapshot", "delta"]] * 3
    assert len({id(seat.frames[1]) for seat in seats}) == 1


def test_something_is_heard_every_second(world: World) -> None:
    seat = world.join()
    times = []
    for _ in range(50):
        before = len(seat.frames)
        world.beat()
        world.pass_(100)
        if len(seat.frames) > before:
            times.append(world.now)
            assert seat.last.get("views", []) == []
    assert all(b - a <= 1_000 for a, b in zip([START, *times], times, strict=False))
    assert len(times) <= 10


def test_who_comes_before_the_first_read_hears_signs_of_life_and_gets_what_is_there_after_a_second() -> None:
    world = World()
    seat = world.join()
    world.pass_(PATIENCE_MS)
    assert set(seat.heard) == {"delta"}
    assert seat.last["epoch"] == ""
    world.pass_(100)
    assert seat.heard.count("snapshot") == 1
    world.read()
    world.pass_(100)
    assert seat.last["type"] == "snapshot"
    assert seat.last["views"][0]["cells"]


def test_who_comes_back_before_the_first_read_keeps_what_it_has_until_then(world: World) -> None:
    assert world.stage.picture
    since = Since(world.stage.picture.epoch, {held.view: held.state.version for held in world.stage.held})
    other = World()
    seat = other.join(since)
    other.pass_(5_000)
    assert "snapshot" not in seat.heard
    other.merges = world.merges
    other.read()
    other.pass_(100)
    assert "snapshot" not in seat.heard
    assert payload(seat.frames[-2 if seat.heard[-1] == "status" else -1])["epoch"] == since.epoch


@pytest.fixture
def sought(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Views of which somebody had more than is here; the test reads them."""
    found: list[str] = []
    monkeypatch.setattr(world.views, "seek", found.append)
    return found


def ahead(world: World) -> Since:
    """What a viewer has of a gateway that has heard one more change."""
    assert world.stage.picture
    world.read()
    first, second = world.stage.held
    return Since(world.stage.picture.epoch, {first.view: first.state.version + 1, second.view: second.state.version})


def test_who_has_more_than_is_here_is_told_what_it_lacks_when_that_was_found(world: World, sought: list[str]) -> None:
    seat = world.join(ahead(world))
    world.pass_(PATIENCE_MS // 2)
    assert not {"snapshot", "delta"} & {payload(frame)["type"] for frame in seat.frames if payload(frame).get("epoch")}
    assert sought == [world.stage.held[0].view], "it is looked for once"
    world.write(2.0)
    world.pass_(100)
    assert "snapshot" not in seat.heard
    parts = [payload(frame)["views"] for frame in seat.frames if payload(frame).get("epoch")]
    assert [part[1:3] for part in parts[0]] == [[2, 2], [1, 1]]


def test_who_has_more_than_there_is_gets_a_snapshot_after_a_while(world: World, sought: list[str]) -> None:
    seat, other = world.join(ahead(world)), world.join()
    assert "snapshot" in other.heard, "nobody else waits for it"
    world.pass_(PATIENCE_MS - 100)
    assert "snapshot" not in seat.heard
    world.pass_(200)
    assert "snapshot" in seat.heard
    assert len(sought) == 1


def test_who_has_more_than_is_here_does_not_wait_for_a_clock_that_was_set_back(world: World, sought: list[str]) -> None:
    seat = world.join(ahead(world))
    world.now -= 3_600_000
    world.pass_(100)
    assert "snapshot" in seat.heard
    assert sought


def test_who_comes_after_everybody_has_left_misses_nothing(world: World) -> None:
    """What counts as sent may not be newer than the snapshot that the newcomer gets."""
    first = world.join()
    world.stage.leave(first, world.now)
    world.write(7.0)
    second = world.join()
    world.pass_(500)
    client = Client()
    for frame in second.frames:
        client.hear(live.decode_server(json.dumps(payload(frame))))
    view = world.stage.held[0].view
    assert client.tables[view] == world.merges[view].table()


def test_who_left_hears_nothing_more(world: World) -> None:
    seat = world.join()
    world.stage.leave(seat, world.now)
    world.write(2.0)
    world.pass_(2_000)
    assert seat.heard == ["snapshot"]
    assert world.stage.idle


def test_subscribing_again_is_answered_again(world: World) -> None:
    seat = world.join()
    world.stage.subscribe(seat, None, 10, world.now)
    world.tick()
    assert seat.heard == ["snapshot", "snapshot"]
    world.write(2.0)
    world.pass_(100)
    assert seat.heard == ["snapshot", "snapshot", "delta"]


CHANGED = document(panel("load", "load"), panel("new", "new"))


def shown(seat: Seat) -> list[str]:
    """The panels of the last snapshot that a viewer has."""
    return [item["id"] for item in next(payload(frame) for frame in reversed(seat.frames) if b"snapshot" in frame)["panels"]]


def test_another_document_is_another_snapshot_and_what_both_show_stays_open(world: World) -> None:
    seat = world.join()
    before = {held.view for held in world.stage.held}
    world.stage.show(entry(CHANGED, "r2"), world.now)
    world.read()
    world.pass_(100)
    after = {held.view for held in world.stage.held}
    assert len(before & after) == 1
    assert set(world.views) == after
    assert all(held.holders == 1 for held in world.stage.held)
    assert seat.heard == ["snapshot", "snapshot"]
    assert shown(seat) == ["load", "new"]


def test_a_changed_dashboard_shows_the_old_picture_until_the_new_one_is_filled(world: World) -> None:
    seat = world.join()
    world.stage.show(entry(CHANGED, "r2"), world.now)
    world.pass_(1_000)
    world.beat()
    assert shown(seat) == ["load", "net"]
    world.write(2.0)  # and it stays alive meanwhile
    world.pass_(100)
    assert seat.heard[-1] == "delta"
    world.read()
    world.pass_(100)
    assert shown(seat) == ["load", "new"]


def test_what_stays_empty_is_shown_empty_after_a_while(world: World) -> None:
    seat = world.join()
    world.stage.show(entry(CHANGED, "r2"), world.now)
    world.pass_(UNTOLD_MS + PATIENCE_MS + 300)
    assert shown(seat) == ["load", "new"]


def test_first_cells_are_not_enough_where_it_is_told_when_a_view_is_filled(world: World) -> None:
    seat = world.join()
    world.fill(*world.stage.held)
    world.stage.show(entry(CHANGED, "r2"), world.now)
    world.read()  # the newest buckets, which come first
    world.pass_(UNTOLD_MS + PATIENCE_MS)
    assert shown(seat) == ["load", "net"]
    world.write(2.0)  # and it stays alive meanwhile
    world.pass_(100)
    assert seat.heard[-1] == "delta"
    world.fill(*world.coming, short_ms=1_000)  # as for another dashboard, which shows less of it
    world.pass_(1_000)
    assert shown(seat) == ["load", "net"]
    world.fill(*world.coming)
    world.pass_(100)
    assert shown(seat) == ["load", "new"]
    assert seat.heard.count("snapshot") == 2


def test_a_view_that_is_filled_with_nothing_is_waited_for_no_longer(world: World) -> None:
    seat = world.join()
    world.stage.show(entry(CHANGED, "r2"), world.now)
    for held in world.coming:
        held.state.load(Merge(version=1, filled=WINDOW_MS).history(), -1)
        held.loaded, held.whole = True, False
    world.pass_(100)
    assert shown(seat) == ["load", "new"]


def test_a_view_that_is_never_filled_is_shown_as_it_is_after_a_minute(world: World) -> None:
    seat = world.join()
    world.fill(*world.stage.held)
    world.stage.show(entry(CHANGED, "r2"), world.now)
    world.read()
    world.pass_(SWITCH_MS)
    assert shown(seat) == ["load", "net"]
    world.pass_(200)
    assert shown(seat) == ["load", "new"]


def test_a_change_that_is_taken_back_leaves_nothing_open(world: World) -> None:
    seat = world.join()
    before = set(world.views)
    world.stage.show(entry(CHANGED, "r2"), world.now)
    assert set(world.views) > before
    world.stage.show(entry(HOST, "r3"), world.now)
    world.pass_(100)
    assert set(world.views) == before and all(held.holders == 1 for held in world.stage.held)
    assert shown(seat) == ["load", "net"]
    world.stage.show(entry(CHANGED, "r4"), world.now)
    world.stage.close()
    assert not set(world.views)


def test_the_same_document_written_again_or_with_a_fault_changes_nothing(world: World) -> None:
    seat = world.join()
    world.stage.show(entry(HOST), world.now)
    world.stage.show(entry(HOST, fault=Fault("spec", "is wrong")), world.now)
    world.pass_(100)
    assert seat.heard == ["snapshot"]


@pytest.mark.parametrize(
    ("shown", "code", "path"),
    [
        (entry(None, fault=Fault("spec.panels", "is wrong", 3, "host.yaml")), "broken_dashboard", "spec.panels"),
        (entry(None), "broken_dashboard", ""),
        (entry({"kind": "Dashboard"}), "broken_dashboard", "document"),
    ],
)
def test_a_dashboard_without_a_good_version_is_an_error_and_then_a_snapshot(shown: Entry, code: str, path: str) -> None:
    world = World(shown)
    seat = world.join()
    assert (seat.last["type"], seat.last["code"], seat.last["path"], seat.last["source"]) == ("error", code, path, "host.yaml")
    world.stage.show(entry(HOST, "r2"), world.now)
    world.read()
    world.pass_(100)
    assert seat.last["type"] == "snapshot"


def test_a_dashboard_that_is_gone_for_a_moment_is_not_gone(world: World) -> None:
    """Redis has lost the registry, and who owns it writes it again."""
    seat = world.join()
    world.stage.show(None, world.now)
    world.pass_(VANISHED_MS)
    world.stage.show(entry(HOST), world.now)
    world.pass_(VANISHED_MS)
    assert "error" not in seat.heard
    world.stage.show(None, world.now)
    world.pass_(VANISHED_MS + 200)
    assert "error" in seat.heard
    assert world.stage.fault
    assert world.stage.fault.code == "unknown_dashboard"
    assert len(world.views) == 0


def test_a_clock_that_is_set_back_silences_nobody(world: World) -> None:
    fast, slow, paused = world.join(), world.join(hz=1), world.join(hz=0)
    world.pass_(1_000)
    world.now -= 3_600_000
    for seat in (fast, slow, paused):
        seat.frames.clear()
    world.write(2.0)
    world.pass_(1_200)
    assert fast.heard[0] == "delta" and slow.heard[0] == "delta" and paused.heard[0] == "delta"
    assert fast.last["now"] == slow.last["now"] <= world.now
    world.health.lost("gone", world.now)
    world.pass_(1_000)
    for seat in (fast, slow, paused):
        assert "status" in seat.heard
    assert world.stage.parts[0].since <= world.now
    late = world.join()
    assert late.heard[0] == "snapshot"


def renewed(world: World, held: Held) -> None:
    """Nothing of this view is comparable any more, and its history has been read whole."""
    before = world.merges[held.view]
    merge = world.merges[held.view] = Merge(f"{before.epoch}+", before.version + 1_000)
    merge.write({(world.now // 1_000 * 1_000, 0): 2.0})
    held.state.load(merge.history(), -1)
    held.whole = False


def test_views_that_are_computed_anew_one_after_the_other_are_one_snapshot(world: World) -> None:
    """As after Redis lost everything: a dashboard of hundreds of views would be sent whole with each of them."""
    seat = world.join()
    world.pass_(1_000)
    for held in world.stage.held:
        held.whole = True
    for held in world.stage.held:
        renewed(world, held)
        world.pass_(300)
    world.pass_(300)
    assert seat.heard.count("snapshot") == 2
    assert seat.last["epoch"] == world.stage.picture.epoch  # type: ignore[union-attr]


def test_a_view_that_is_not_read_again_does_not_keep_the_others_back_for_long(world: World) -> None:
    seat = world.join()
    world.pass_(1_000)
    for held in world.stage.held:
        held.whole = True
    renewed(world, world.stage.held[0])
    for _ in range(3):
        begun = len(seat.frames)
        world.pass_(1_000)
        assert len(seat.frames) > begun, "it is never silent"
    assert seat.heard.count("snapshot") == 2


def test_before_the_registry_is_read_nobody_is_told_that_there_is_no_dashboard() -> None:
    world = World()
    stage = Stage("host", world.views, world.health, world.throttle, START)
    seat = Seat()
    stage.subscribe(seat, None, 10, START)
    outs = [(out.message.kind, [*out.viewers]) for out in stage.tick(START + 1_000)]
    assert seat.frames == []
    assert ("delta", [seat]) in outs


def test_what_is_away_is_told_once_and_to_newcomers_and_its_return_too(world: World) -> None:
    seat = world.join()
    world.health.lost("connection refused", world.now)
    world.pass_(2_000)
    assert seat.heard.count("status") == 1
    newcomer = world.join()
    world.pass_(100)
    assert newcomer.heard == ["snapshot", "status"]
    assert (newcomer.last["stale"], newcomer.last["parts"][0]["part"], newcomer.last["age_ms"]) == (True, "feed", 2_100)
    world.health.back(world.now)
    world.beat()
    world.pass_(1_000)
    assert (seat.heard[-1], seat.heard.count("status")) == ("delta", 2)
    told = [payload(frame) for frame in seat.frames if payload(frame)["type"] == "status"]
    assert (told[-1]["stale"], told[-1]["age_ms"], told[-1]["parts"]) == (False, 0, [])


async def test_two_dashboards_share_a_view_and_the_longer_window(world: World) -> None:
    (first, *_) = world.stage.held
    longer = world.views.open(first.view, 1_000, 600_000)
    assert longer is first
    assert (first.holders, first.state.window_ms, first.ready) == (2, 600_000, False)
    world.views.close(first.view)
    assert first.holders == 1


async def test_the_hub_lets_go_of_what_nobody_has_watched_for_a_while() -> None:
    now = START
    hub = Hub(connect(NOWHERE), lambda: now)
    hub.entries = {"host": entry(HOST)}
    seat = Seat()
    hub.subscribe(seat, "host", None, 10)
    hub.join(seat, "host", "load", 200)
    assert len(hub.views) == 2
    for _ in range(200):
        now += 100
        await hub._tick()
    assert len(hub.views) == 2, "it is watched"
    hub.unsubscribe(seat, "host")
    hub.depart(seat, "host", "load", 200)
    await hub._tick()
    now += LINGER_MS
    await hub._tick()
    assert len(hub.views) == 2, "a page that is reloaded finds everything still there"
    now += 100
    await hub._tick()
    assert len(hub.views) == 0
    assert hub.status()["watched"] == {}
