"""Viewers at every rate, some of them slow: each sees everything in the end, never a hole, and no more frames than it asked for."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client import REGISTRY

from services.contract import live
from services.contract.live import Delta, Part, ServerMessage, Since, Snapshot, Status
from services.gateway.audience import Audience
from services.gateway.dashboard import Composition, Picture, Position
from services.gateway.outgoing import Outgoing
from services.gateway.pace import LOOK_MS
from services.gateway.rates import PAUSED, RATES, Throttle
from services.gateway.tier import SLACK_MS
from services.gateway.viewer import Indirect
from services.gateway.viewstate import ViewState
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.steady import steady
from tests.unit.gateway.worlds import EVERY, Client, dashboard, panel

START = 1_000_000
BOARD = dashboard(panel("load", "load"), panel("net", "bytes", ["rate", "avg"]), window="30m")
TICK_MS = 50


@dataclass(eq=False)
class Seat(Indirect):
    """A viewer that keeps the client's rules. heard: every message and when it came."""

    world: "World"
    clogged: bool = False
    deflated: bool = False
    client: Client = field(default_factory=Client)
    heard: list[tuple[int, ServerMessage, Outgoing]] = field(default_factory=list)

    def send(self, message: Outgoing) -> None:
        assert not self.clogged, "nothing is written to who is clogged"
        said = live.decode_server(message.payload)
        self.heard.append((self.world.now, said, message))
        self.client.hear(said)

    def close(self, code: int, reason: str = "") -> None:
        """Nobody is closed here."""

    @property
    def kinds(self) -> list[str]:
        return [message.kind for _, said, message in self.heard if not (isinstance(said, Delta) and not said.views)]

    def frames(self) -> list[int]:
        """When something came that had cells."""
        return [at for at, said, _ in self.heard if isinstance(said, Snapshot) or (isinstance(said, Delta) and said.views)]

    @property
    def status(self) -> Status:
        return next(said for _, said, _ in reversed(self.heard) if isinstance(said, Status))


class Narrow(Seat):
    """A viewer that is clogged by every message that has cells."""

    def send(self, message: Outgoing) -> None:
        super().send(message)
        said = self.heard[-1][1]
        self.clogged = isinstance(said, Delta) and bool(said.views)


class World:
    def __init__(self) -> None:
        self.now = START
        self.throttle = Throttle(START)
        self.audience = Audience("host", self.throttle)
        composition = Composition(BOARD, "r1")
        self.merges = {view: Merge() for view in composition.views}
        self.states = {view: ViewState(EVERY, 3_600_000) for view in composition.views}
        self.picture = Picture(composition, self.states)
        for place in range(len(self.states)):
            self.write(place, {(0, 0): 0.0})

    def write(self, place: int, values: dict[tuple[int, int], float]) -> None:
        view = list(self.states)[place % len(self.states)]
        change = self.merges[view].write({(START + bucket, group): value for (bucket, group), value in values.items()})
        if self.states[view].version:
            self.states[view].apply(change)
        else:
            self.states[view].load(self.merges[view].history(), -1)

    def begin_epoch(self, place: int) -> None:
        view = list(self.states)[place % len(self.states)]
        before = self.merges[view]
        self.merges[view] = Merge(f"{before.epoch}+", before.version + 1_000)
        self.merges[view].write({(START, 9): 9.0})
        self.states[view].load(self.merges[view].history(), -1)

    def join(self, hz: int = 10, since: Since | None = None, seat: Seat | None = None) -> Seat:
        seat = seat or Seat(self)
        self.audience.ask(seat, since, hz, self.now)
        return seat

    def tick(self) -> None:
        """As stage and hub do it."""
        outs = (
            self.audience.tick(self.picture, self.now),
            self.audience.answer(self.picture, list(self.audience.waiting), self.now),
            self.audience.alive(self.picture, self.now),
        )
        for out in (out for some in outs for out in some):
            for viewer in out.viewers:
                if viewer.clogged:
                    out.missed(viewer)
                else:
                    viewer.send(out.message)
        self.audience.judge(self.now)

    def pass_(self, ms: int, every: int = TICK_MS, changing: bool = False) -> None:
        for at in range(ms // every):
            self.now += every
            if changing:
                self.write(at, {(at // 20 * EVERY, at % 3): float(at)})
            self.tick()

    def tell(self, status: Status) -> None:
        for out in self.audience.tell(status, self.now):
            for viewer in out.viewers:
                if viewer.clogged:
                    out.missed(viewer)
                else:
                    viewer.send(out.message)

    def shows(self, seat: Seat) -> bool:
        client = seat.client
        return (
            client.epoch == self.picture.epoch
            and client.tables == {view: merge.table() for view, merge in self.merges.items()}
            and client.versions == {view: state.version for view, state in self.states.items()}
        )


AWAY = Status("host", START, True, 0, [Part("feed", START, "gone")], panels={"load": 100})


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("hz", RATES)
def test_each_rate_has_its_frames_and_no_more(world: World, hz: int) -> None:
    seat = world.join(hz)
    world.pass_(10_000, changing=True)
    times = seat.frames()[1:]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert all(gap >= 1_000 / hz - SLACK_MS for gap in gaps)
    assert len(times) >= 10 * hz * 0.9
    assert isinstance(seat.heard[0][1], Snapshot) and seat.heard[0][1].hz == hz


def test_one_frame_is_made_for_each_rate_however_many_there_are(world: World) -> None:
    seats = {hz: [world.join(hz) for _ in range(5)] for hz in RATES}
    world.pass_(3_000, changing=True)
    for some in seats.values():
        assert len({tuple(map(id, (message for _, _, message in seat.heard))) for seat in some}) == 1
        assert all(world.shows(seat) for seat in some) or some[0].client.versions != {}


def test_who_is_paused_hears_signs_of_life_only_and_is_brought_to_now_by_one_frame(world: World) -> None:
    seat = world.join(10)
    world.pass_(200)
    world.audience.rate(seat, PAUSED)
    world.pass_(200)
    before = len(seat.frames())
    world.pass_(5_000, changing=True)
    assert len(seat.frames()) == before
    times = [at for at, _, _ in seat.heard]
    assert max(after - b for b, after in itertools.pairwise(times)) <= 1_000
    assert seat.status.hz == 0
    world.audience.rate(seat, 10)
    world.pass_(100)
    assert len(seat.frames()) == before + 1
    assert world.shows(seat)
    assert seat.status.hz == 10


def test_who_is_clogged_gets_nothing_and_then_one_frame_with_the_newest_only(world: World) -> None:
    slow, fast = world.join(), world.join()
    world.pass_(200)
    slow.clogged = True
    before = len(slow.heard)
    world.pass_(1_000, changing=True)
    assert len(slow.heard) == before
    slow.clogged = False
    world.pass_(100)
    assert len(slow.heard) == before + 1
    assert world.shows(slow) and world.shows(fast)
    made = len(fast.heard)
    world.pass_(300)
    assert slow.heard[-1] == fast.heard[-1] or len(fast.heard) == made, "they are in step again"
    world.write(0, {(5_000, 0): 5.0})
    world.pass_(100)
    assert slow.heard[-1][2] is fast.heard[-1][2]


def test_who_cannot_keep_up_is_given_fewer_frames_and_told_so_and_gets_them_back(world: World) -> None:
    seat, other = world.join(), world.join()
    before = _rate_changes("down"), _rate_changes("up")
    for _ in range(3 * LOOK_MS // 400):
        seat.clogged = False
        world.pass_(100, changing=True)
        seat.clogged = True
        world.pass_(300, changing=True)
    seat.clogged = False
    world.pass_(1_000, changing=True)
    assert (seat.status.hz <= 2, seat.status.limit) == (True, "reader")
    assert _rate_changes("down") > before[0] and _rate_changes("up") == before[1]
    assert all(not isinstance(said, Status) for _, said, _ in other.heard)
    begun = len(seat.frames())
    world.pass_(4_000, changing=True)
    assert len(seat.frames()) - begun <= 9
    world.pass_(30_000, changing=True)
    assert (seat.status.hz, seat.status.limit) == (10, "")
    assert _rate_changes("up") - before[1] >= 2, "step by step"
    world.pass_(15_000, changing=True)
    assert world.audience.slow == {}


def _rate_changes(direction: str) -> float:
    labels = {"direction": direction, "reason": "reader"}
    return REGISTRY.get_sample_value("tideboard_gateway_rate_changes_total", labels) or 0.0


def test_what_is_away_is_told_to_all_and_to_the_clogged_and_the_paused_when_they_can_hear(world: World) -> None:
    seats = [world.join(hz) for hz in (20, 1, PAUSED)]
    clogged = world.join(5)
    world.pass_(300)
    clogged.clogged = True
    world.tell(AWAY)
    assert all(seat.status.stale for seat in seats)
    assert [seat.status.hz for seat in seats] == [20, 1, 0]
    world.pass_(2_000)
    clogged.clogged = False
    world.pass_(1_000)
    assert clogged.status.stale
    assert (clogged.status.age_ms, clogged.status.panels["load"]) >= (2_000, 2_100)
    late = world.join(10)
    world.pass_(200)
    assert late.status.stale


def test_a_snapshot_serves_all_who_come_within_a_second_and_what_it_lacks_follows(world: World) -> None:
    first = world.join()
    world.pass_(100)
    world.write(0, {(2_000, 0): 7.0})
    late = world.join()
    world.pass_(50)
    assert late.heard[0][2] is first.heard[0][2]
    world.pass_(100)
    assert world.shows(late) and world.shows(first)


def test_a_thousand_who_come_back_with_the_same_share_one_answer(world: World) -> None:
    seat = world.join()
    world.pass_(100)
    since = seat.client.since
    world.write(0, {(2_000, 0): 7.0})
    back = [world.join(since=since) for _ in range(20)]
    for one in back:
        one.client = Client()
        one.client.hear(seat.heard[0][1])
    world.tick()
    assert len({id(one.heard[0][2]) for one in back}) == 1
    assert back[0].kinds == ["delta"]
    assert all(world.shows(one) for one in back)


def test_what_a_thousand_come_back_with_is_looked_up_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seat = world.join()
    world.pass_(100)
    looked_up: list[str] = []
    resumes = Picture.resumes

    def counted(self: Picture, since: Since | Position) -> bool:
        looked_up.append(since.epoch)
        return resumes(self, since)

    monkeypatch.setattr(Picture, "resumes", counted)
    had = seat.client.since
    assert had
    back = [world.join(since=replace(had, epoch=epoch)) for epoch in (had.epoch, "e") for _ in range(20)]
    for one in back[:20]:
        one.client.hear(seat.heard[0][1])
    world.write(0, {(2_000, 0): 7.0})
    world.tick()
    assert looked_up == [had.epoch, "e"]
    assert [one.kinds[0] for one in back] == ["delta"] * 20 + ["snapshot"] * 20


def test_many_who_fell_behind_one_after_the_other_share_few_deltas_that_are_not_much_too_long(world: World) -> None:
    seats = [world.join(20) for _ in range(200)]
    world.pass_(100)
    written = sum(state.written for state in world.states.values())
    since = {}
    for turn, seat in enumerate(seats):
        since[seat] = sum(state.written for state in world.states.values())
        seat.clogged = True
        world.write(turn, {(turn * EVERY, group): float(turn) for group in range(3)})
        world.now += 50
        world.tick()
    for seat in seats:
        seat.clogged = False
    before = [len(seat.heard) for seat in seats]
    world.pass_(4_000)  # each in its tier: some have a slower rate by now
    assert all(world.shows(seat) for seat in seats)
    assert sum(state.written for state in world.states.values()) - written == 600
    sent = {}
    for seat, known in zip(seats, before, strict=True):
        (delta,) = [message for _, said, message in seat.heard[known:] if isinstance(said, Delta) and said.views]
        sent[id(delta)] = delta
        lacked = sum(state.written for state in world.states.values()) - since[seat]
        assert lacked <= delta.content.cells <= 2 * lacked + 3
    assert len(sent) <= len(RATES) * 11, "by how many binary digits the number of values has that they lack"


def test_another_epoch_is_a_snapshot_for_everybody(world: World) -> None:
    seats = [world.join(hz) for hz in RATES]
    world.pass_(1_500)
    world.begin_epoch(0)
    world.pass_(1_000)
    assert all(seat.kinds[-1] == "snapshot" and world.shows(seat) for seat in seats)


def test_after_another_document_all_keep_the_rates_that_they_asked_for(world: World) -> None:
    seats = {hz: world.join(hz) for hz in (*RATES, PAUSED)}
    world.pass_(100)
    world.audience.begin_anew()
    world.pass_(100)
    assert {hz: len(tier) for hz, tier in world.audience.tiers.items()} == dict.fromkeys(seats, 1)
    assert all(seat.kinds.count("snapshot") == 2 for seat in seats.values())


def test_a_busy_gateway_gives_all_fewer_frames(world: World) -> None:
    seat = world.join(10)
    world.pass_(200)
    world.throttle.factor = 2
    world.tell(Status("host", world.now, False, 0, []))
    assert (seat.status.hz, seat.status.limit) == (5, "gateway")
    begun = len(seat.frames())
    world.pass_(2_000, changing=True)
    assert 9 <= len(seat.frames()) - begun <= 11


writes = st.tuples(
    st.just("write"),
    st.integers(0, 2),
    st.dictionaries(
        st.tuples(st.integers(0, 4).map(lambda n: n * EVERY), st.integers(0, 3)), st.floats(-9, 9), min_size=1, max_size=4
    ),
)
which = st.integers(0, 9)
steps = st.lists(
    st.one_of(
        writes,
        writes,
        st.tuples(st.just("pass"), st.integers(1, 30)),
        st.tuples(st.just("join"), st.sampled_from((*RATES, PAUSED))),
        st.tuples(st.just("rate"), which, st.sampled_from((*RATES, PAUSED))),
        st.tuples(st.just("clog"), which),
        st.tuples(st.just("drain"), which),
        st.tuples(st.just("leave"), which),
        st.tuples(st.just("return"), which, st.sampled_from(RATES)),
        st.tuples(st.just("epoch"), st.integers(0, 2)),
        st.tuples(st.just("anew")),
        st.tuples(st.just("tell")),
    ),
    max_size=50,
)


@steady(300)
@given(steps)
def test_whatever_viewers_do_each_sees_everything_in_the_end_and_never_a_hole(story: list[tuple[object, ...]]) -> None:
    """Client asserts on every message that it joins on what there is, and that no group is without its labels."""
    world = World()
    there: list[Seat] = []
    gone: list[Seat] = []
    stale = False
    for step in story:
        match step:
            case ("write", int() as place, dict() as values):
                world.write(place, values)
            case ("pass", int() as ticks):
                world.pass_(ticks * TICK_MS)
            case ("join", int() as hz):
                there.append(world.join(hz))
            case ("rate", int() as at, int() as hz) if there:
                world.audience.rate(there[at % len(there)], hz)
            case ("clog", int() as at) if there:
                seat = there[at % len(there)]
                seat.clogged = bool(seat.heard)
            case ("drain", int() as at) if there:
                there[at % len(there)].clogged = False
            case ("leave", int() as at) if there:
                seat = there.pop(at % len(there))
                seat.clogged = False
                world.audience.leave(seat)
                gone.append(seat)
            case ("return", int() as at, int() as hz) if gone:
                seat = gone.pop(at % len(gone))
                seat.heard = [
                    it for it in seat.heard if not isinstance(it[1], Status)
                ]  # a new socket: what was said of it is forgotten
                world.join(hz, seat.client.since if seat.client.epoch else None, seat)
                there.append(seat)
            case ("epoch", int() as place):
                world.begin_epoch(place)
            case ("anew",):
                world.audience.begin_anew()
            case ("tell",):
                stale = not stale
                world.tell(Status("host", world.now, stale, 0, []))
    for seat in there:
        seat.clogged = False
        world.audience.rate(seat, 20)
    world.pass_(2_500)
    assert len(world.audience) == len(there)
    assert all(world.shows(seat) for seat in there)
    assert all(seat.status.stale is stale for seat in there if any(isinstance(said, Status) for _, said, _ in seat.heard))
    assert all(seat.status.stale for seat in there if stale)


def test_who_is_clogged_by_every_frame_is_told_its_rate_and_sent_nothing_twice(world: World) -> None:
    """Each delta fills what the kernel takes of this reader, so that what follows it in the same tick cannot be written."""
    narrow, other = Narrow(world), world.join()
    world.join(seat=narrow)
    world.pass_(100)
    for at in range(200):
        narrow.clogged = narrow.clogged and at % 8 > 0
        world.write(0, {(at * EVERY, 0): float(at)})
        world.pass_(50)
    assert narrow.status.limit == "reader"
    sent = [
        cells.start for _, said, _ in narrow.heard if isinstance(said, Delta) for part in said.views for cells in part.cells
    ]
    assert len(sent) == len(set(sent))
    narrow.clogged = False
    world.pass_(1_500)
    assert world.shows(narrow) and world.shows(other)


def test_all_who_are_paused_are_told_by_one_message(world: World) -> None:
    seats = [world.join(PAUSED) for _ in range(5)]
    world.pass_(700)
    gone, clogged, *others = seats
    outs = iter(world.audience.tell(AWAY, world.now))
    first = next(outs)
    world.audience.leave(gone)  # while it is written
    clogged.clogged = True
    for out in (first, *outs):
        for viewer in out.viewers:
            out.missed(viewer) if viewer.clogged else viewer.send(out.message)
    assert len({id(seat.heard[-1][2]) for seat in others}) == 1
    assert all(seat.status.stale for seat in others)
    clogged.clogged = False
    world.pass_(1_000)
    assert clogged.status.stale
    assert [len(seat.kinds) for seat in others] == [2] * len(others), "once each"
    assert len(world.audience) == 4


def test_what_is_kept_of_those_who_are_paused_is_kept_for_many(world: World) -> None:
    """A mark of a large dashboard is 20 KB, and pages are hidden at any time."""
    seats = [world.join() for _ in range(20)]
    world.pass_(200)
    for seat in seats:
        world.audience.rate(seat, PAUSED)
        world.pass_(500, changing=True)
    assert len({id(base.mark) for base in world.audience.tiers[PAUSED].behind.values()}) == 1
    world.pass_(60_000, every=500, changing=True)
    late, slow = world.join(), world.join()
    world.pass_(200)
    slow.clogged = True
    world.pass_(5_000, changing=True)
    for seat in (late, slow):
        world.audience.rate(seat, PAUSED)
        world.pass_(200, changing=True)
    assert len({id(base.mark) for base in world.audience.tiers[PAUSED].behind.values()}) == 3
    slow.clogged = False
    for seat in (*seats, late, slow):
        world.audience.rate(seat, 10)
    world.pass_(500)
    assert all(world.shows(seat) for seat in (*seats, late, slow))


def test_a_snapshot_is_not_kept_for_longer_than_it_serves(world: World) -> None:
    for hz in RATES:
        world.join(hz)
    world.pass_(200)
    assert world.audience._snapshots
    world.pass_(2_000, changing=True)
    assert not world.audience._snapshots
    assert not world.audience._made
