"""A feed that has lost versions which somebody has seen: everybody drops them, wherever they come back, and nobody keeps a cell that is not there."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.terms import STEP
from services.gateway.viewstate import Verdict
from tests.unit.gateway.forking import START, VIEW, Feed, Gateway, Owner, Seat
from tests.unit.gateway.merge import table
from tests.unit.gateway.steady import steady
from tests.unit.gateway.worlds import EVERY

A, B, C = (START, 0), (START, 1), (START + EVERY, 0)


def shown(gateway: Gateway) -> dict[int, dict[int, float | None]]:
    return table(gateway.state.cells(-EVERY))


def viewers(*gateways: Gateway) -> list[Seat]:
    seats = [Seat() for _ in gateways]
    for gateway, seat in zip(gateways, seats, strict=True):
        gateway.seat(seat, None)
        gateway.tick()
    return seats


def forked(keeps_terms: bool = True) -> tuple[Feed, Gateway, Gateway]:
    """One gateway that has heard what the feed has lost then, and one that has not; both have come back. Nobody has written since."""
    feed = Feed(keeps_terms)
    owner, knowing, other = Owner(feed, 1), Gateway(feed), Gateway(feed)
    owner.write({A: 1.0})
    knowing.hear()
    other.hear()
    owner.write({B: 2.0})
    knowing.hear()
    feed.fail_over(1)
    return feed, knowing, other


def go_on(feed: Feed) -> None:
    feed.now += 100
    assert Owner(feed, 500).write({C: 3.0})


@pytest.mark.parametrize("keeps_terms", [True, False])
def test_a_change_that_goes_on_from_before_what_is_here_shows_that_this_is_lost(keeps_terms: bool) -> None:
    feed, gateway, _ = forked(keeps_terms)
    gateway.connected = True  # it has not noticed: what connects it stayed up
    go_on(feed)
    assert gateway.state.apply(gateway.inbox[0]) is Verdict.forked
    gateway.hear()
    assert shown(gateway) == feed.stored.table() == {START: {0: 1.0}, START + EVERY: {0: 3.0}}


def test_a_history_that_has_not_got_what_is_here_yet_takes_its_place() -> None:
    feed, gateway, _ = forked()
    gateway.connect()
    assert (shown(gateway), gateway.state.version) == ({START: {0: 1.0}}, feed.stored.version)


def test_a_history_that_has_gone_on_without_what_is_here_takes_its_place() -> None:
    feed, gateway, _ = forked()
    go_on(feed)
    gateway.connect()
    assert shown(gateway) == feed.stored.table()


@pytest.mark.parametrize("keeps_terms", [True, False])
def test_its_viewers_are_sent_everything(keeps_terms: bool) -> None:
    feed, gateway, _ = forked(keeps_terms)
    (seat,) = viewers(gateway)
    gateway.connected = True
    go_on(feed)
    gateway.hear()
    feed.now += 1_000
    gateway.tick()
    assert seat.kinds == ["snapshot", "snapshot"]
    assert seat.client.tables[VIEW] == feed.stored.table()


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_a_viewer_that_comes_back_with_what_is_lost_is_sent_everything(place: int, written: bool) -> None:
    feed, *gateways = forked()
    seat, _ = viewers(*gateways)
    gateways[0].leave(seat)
    if written:
        go_on(feed)
    for gateway in gateways:
        gateway.connect()
    gateways[place].seat(seat, seat.client.since)
    gateways[place].tick()
    feed.now += 1_000
    gateways[place].tick()
    assert seat.kinds[:2] == ["snapshot", "snapshot"]
    assert seat.client.tables[VIEW] == feed.stored.table()


def test_a_viewer_that_comes_back_with_what_is_there_is_sent_what_it_lacks() -> None:
    feed, knowing, other = forked()
    _, seat = viewers(knowing, other)
    other.leave(seat)
    go_on(feed)
    knowing.connect()
    knowing.seat(seat, seat.client.since)
    knowing.tick()
    assert seat.kinds == ["snapshot", "delta"]
    assert seat.client.tables[VIEW] == feed.stored.table()


def test_a_viewer_comes_back_with_what_is_lost_to_a_gateway_that_heard_only_what_came_instead() -> None:
    feed, knowing, other = forked()
    seat, _ = viewers(knowing, other)
    knowing.leave(seat)
    other.connect()
    go_on(feed)
    other.hear()
    other.seat(seat, seat.client.since)
    feed.now += 1_000
    other.tick()
    assert seat.kinds == ["snapshot", "snapshot"]
    assert seat.client.tables[VIEW] == feed.stored.table()


def test_a_viewer_that_has_more_because_this_gateway_is_slow_is_sent_what_it_lacks() -> None:
    feed = Feed()
    owner, quick, slow = Owner(feed, 1), Gateway(feed), Gateway(feed)
    owner.write({A: 1.0})
    quick.hear()
    slow.hear()
    owner.write({B: 2.0})
    quick.hear()
    (seat,) = viewers(quick)
    slow.seat(seat, seat.client.since)
    slow.tick()
    assert seat.kinds == ["snapshot", "delta"]
    assert seat.client.tables[VIEW] == feed.stored.table()


def test_an_owner_that_goes_on_where_another_wrote_and_was_lost_does_not_seem_to_have_written_that() -> None:
    feed = Feed()
    owner, gateway = Owner(feed, 1), Gateway(feed)
    owner.write({A: 1.0})
    gateway.hear()
    feed.now += 1
    Owner(feed, 1).write({B: 2.0})
    gateway.hear()
    feed.fail_over(1)
    feed.now += 1
    assert owner.write({C: 3.0}), "it has not noticed anything"
    gateway.connect()
    assert shown(gateway) == feed.stored.table()


def test_an_owner_whose_answer_was_lost_does_not_seem_to_have_written_what_was_lost_with_it() -> None:
    feed = Feed()
    owner, gateway = Owner(feed, 1), Gateway(feed)
    owner.write({A: 1.0})
    gateway.hear()
    feed.now += 1
    owner.write({B: 2.0}, sure=False)
    gateway.hear()
    feed.fail_over(1)
    feed.now += 1
    assert owner.write({C: 3.0})
    gateway.connect()
    assert shown(gateway) == feed.stored.table()


def test_what_was_heard_while_the_history_was_read_is_not_taken_for_lost() -> None:
    feed = Feed()
    owner, gateway = Owner(feed, 1), Gateway(feed)
    for whole in (False, True):
        owner.write({A: 1.0})
        gateway.hear()
        gateway.whole = whole
        gateway.ask()
        owner.write({B: 2.0})
        gateway.hear()
        gateway.read()
        assert (gateway.state.version, gateway.state.forks) == (feed.stored.version, 0)
        assert shown(gateway) == feed.stored.table()


both = st.integers(0, 3)  # which of two
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, 11), st.integers(0, 4).map(bool), both),
        st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, 11), st.just(True), both),
        st.tuples(st.just("fail over"), st.integers(1, 3), both),
        st.tuples(st.just("connect"), both),
        st.tuples(st.just("lose"), st.integers(0, 1)),
        st.tuples(st.just("ask"), st.integers(0, 1), st.booleans()),
        st.tuples(st.just("read"), both),
        st.tuples(st.just("tick"), both),
        st.tuples(st.just("move"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("fork"), both, both, st.integers(0, 1), both, st.integers(0, 2)),
    ),
    max_size=30,
)


class Story:
    """Two owners whose clocks differ, two gateways, three viewers that go from one to the other."""

    def __init__(self, keeps_terms: bool) -> None:
        self.feed = Feed(keeps_terms)
        self.owners = [Owner(self.feed, 1), Owner(self.feed, 301, skew=3)]
        self.written = 0
        self.write(0, 0)
        self.gateways = [Gateway(self.feed), Gateway(self.feed)]
        self.seats = [Seat() for _ in range(3)]
        self.at: dict[Seat, Gateway] = {}
        for number, seat in enumerate(self.seats):
            self.move(seat, self.gateways[number % 2])
        self.tick(3)

    def of(self, which: int) -> list[Gateway]:
        return [gateway for number, gateway in enumerate(self.gateways) if which & 1 << number]

    def write(self, owner: int, place: int, sure: bool = True) -> None:
        self.written += 1
        self.feed.now += 1
        cells = {(START + place // 3 * EVERY, place % 3): float(self.written)}
        if not self.owners[owner].write(cells, sure) and sure:
            self.owners[owner].write(cells)

    def hear(self, which: int) -> None:
        for gateway in self.of(which):
            while gateway.inbox:
                gateway.hear()

    def tick(self, which: int) -> None:
        self.feed.now += 60
        for gateway in self.of(which):
            gateway.tick()

    def connect(self, which: int) -> None:
        for gateway in self.of(which):
            gateway.connect()

    def move(self, seat: Seat, gateway: Gateway) -> None:
        if seat in self.at:
            self.at.pop(seat).leave(seat)
        self.at[seat] = gateway
        gateway.seat(seat, seat.client.since if seat.client.epoch else None)

    def tell(self, step: tuple[object, ...]) -> None:
        match step:
            case ("write", int() as which, int() as place, bool() as sure, int() as hearing):
                self.write(which, place, sure)
                self.hear(hearing)
            case ("fail over", int() as lost, int() as back):
                self.feed.fail_over(lost)
                self.connect(back)
            case ("connect", int() as which):
                self.connect(which)
            case ("lose", int() as which):
                self.gateways[which].hear(lost=True)
            case ("ask", int() as which, bool() as whole) if self.gateways[which].slow is None:
                self.gateways[which].whole |= whole
                self.gateways[which].ask()
            case ("read", int() as which):
                for gateway in self.of(which):
                    gateway.read()
            case ("tick", int() as which):
                self.tick(which)
            case ("move", int() as which, int() as where):
                self.move(self.seats[which], self.gateways[where])
            case ("fork", int() as knowing, int() as back, int() as owner, int() as hearing, int() as mover):
                for part in self.fork(knowing, back, owner, hearing, mover):
                    self.tell(part)

    def fork(self, knowing: int, back: int, owner: int, hearing: int, mover: int) -> Iterable[tuple[object, ...]]:
        """What is heard, and told to viewers, and lost; what comes instead; and a viewer that goes to the other gateway."""
        yield "write", 1 - owner, 4, True, knowing
        yield "tick", knowing
        yield "fail over", 1, back
        yield "write", owner, 8, True, hearing
        yield "move", mover, 1 - self.gateways.index(self.at[self.seats[mover]])

    def end(self) -> None:
        """Everybody is there again, and hears one more change."""
        self.feed.now += 10_000
        self.connect(sum(1 << n for n, gateway in enumerate(self.gateways) if not gateway.connected))
        Owner(self.feed, 601).write({A: -1.0})
        for gateway in self.gateways:
            gateway.read()
        self.hear(3)
        for _ in range(2):
            self.feed.now += 10_000
            self.tick(3)


def same(gateway: Gateway) -> bool:
    """Where a gateway stands at what lies in the feed, it has the same cells."""
    feed = gateway.feed.stored
    return gateway.state.version != feed.version or shown(gateway) == feed.table()


@steady(500)
@given(steps)
def test_whatever_a_feed_loses_everybody_has_what_it_has_who_stands_where_it_stands(told: list[tuple[object, ...]]) -> None:
    story = Story(keeps_terms=True)
    for step in told:
        story.tell(step)
        assert all(same(gateway) for gateway in story.gateways)
    story.end()
    stored = story.feed.stored
    assert [(gateway.state.version, shown(gateway)) for gateway in story.gateways] == [(stored.version, stored.table())] * 2
    for seat in story.seats:
        assert (seat.client.versions[VIEW], seat.client.tables[VIEW]) == (stored.version, stored.table())


def test_versions_of_two_owners_differ_by_more_than_their_time() -> None:
    feed = Feed()
    Owner(feed, 1).write({A: 1.0})
    first = feed.stored.version
    feed.fail_over(1)
    Owner(feed, 301).write({A: 2.0})
    assert feed.stored.version != first
    assert feed.stored.version // STEP == first // STEP
