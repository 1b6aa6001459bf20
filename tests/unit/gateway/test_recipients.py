"""Who gets a message is found again without looking at anybody, and is never anybody else."""

from array import array

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.gateway.outgoing import Outgoing
from services.gateway.recipients import INDIRECT, Members, Recipients, lots
from services.gateway.viewer import SHUT, Viewer, descriptors


class Seat:
    """A viewer whose socket changes as a WebSocket's does."""

    clogged = False

    def __init__(self, fd: int, *, deflated: bool) -> None:
        self._fd = fd
        self.deflated = deflated

    @property
    def fd(self) -> int:
        return self._fd

    def aim(self, fd: int) -> None:
        self._fd = fd
        descriptors.changes += 1

    def send(self, message: Outgoing) -> None: ...

    def rest(self, frame: bytes | memoryview) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...


class Coming(RuleBasedStateMachine):
    """Viewers come and go, get stuck and go on, and between that it is asked who gets a message, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.members = Members()
        self.seats: list[Seat] = []
        self.kept: Recipients | None = None
        self.kept_of: list[Viewer] = []

    @rule(fd=st.integers(SHUT, 9), deflated=st.booleans())
    def come(self, fd: int, deflated: bool) -> None:
        seat = Seat(fd, deflated=deflated)
        self.seats.append(seat)
        self.members.add(seat)

    @rule(place=st.integers(0, 9))
    def go(self, place: int) -> None:
        if place < len(self.seats):
            seat = self.seats.pop(place)
            assert self.members.discard(seat)
            assert not self.members.discard(seat)

    @rule(place=st.integers(0, 9), fd=st.integers(SHUT, 9))
    def change(self, place: int, fd: int) -> None:
        if place < len(self.seats):
            self.seats[place].aim(fd)

    @rule()
    def keep(self) -> None:
        """A message that is still being written while they come and go."""
        self.kept, self.kept_of = self.members.recipients, [*self.seats]

    @invariant()
    def each_is_in_one_lot_as_it_is_now(self) -> None:
        check(self.members.recipients, [*self.seats])
        assert [*self.members] == self.seats

    @invariant()
    def who_gets_a_message_stays_who_they_are(self) -> None:
        if self.kept is not None:
            check(self.kept, self.kept_of)


def check(recipients: Recipients, viewers: list[Viewer]) -> None:
    assert [*recipients] == viewers
    assert len(recipients) == len(viewers)
    found = recipients.lots
    assert recipients.lots is found, "nothing has changed"
    assert not any(lot.stale or not len(lot) for lot in found)
    for lot in found:
        assert all((viewer.fd != SHUT) == lot.straight for viewer in lot)
        if lot.straight:
            assert [*lot.fds] == [viewer.fd for viewer in lot]
            assert {viewer.deflated for viewer in lot} == {lot.deflated}
    assert sorted(map(id, (it for lot in found for it in lot))) == sorted(map(id, viewers))


TestComing = Coming.TestCase


def test_what_is_left_of_a_lot_is_as_old_as_it() -> None:
    seats = [Seat(fd, deflated=True) for fd in (3, 4, 5)]
    (lot,) = lots(seats)
    left = lot.after(1)
    assert ([*left], len(left), left.fds[left.first :], left.deflated, left.stale) == (
        seats[1:],
        2,
        array("i", (4, 5)),
        True,
        False,
    )
    assert [*left.after(1)] == seats[2:]
    seats[0].aim(SHUT)
    assert lot.stale
    assert left.stale
    assert lot.after(2).stale


def test_who_has_no_socket_is_in_a_lot_without_any() -> None:
    (lot,) = lots([Seat(SHUT, deflated=True)])
    assert not lot.straight
    assert lot.fds == INDIRECT
    assert lots([]) == []
