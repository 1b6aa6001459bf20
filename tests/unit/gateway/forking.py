"""A feed that loses its newest versions, merges that write to it, and gateways that hear some of it: whole, in memory, and as slow as a test wants.

Owners do as `aggregator/viewmerge` and the script of `transport/history` do; gateways as `gateway/views` does, and as `gateway/stage` with who
comes back with more than there is.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from services.contract import live
from services.contract.history import Change, ViewHistory
from services.contract.live import Delta, Since, Snapshot
from services.contract.terms import STEP, Terms, begun, free_tag, next_version
from services.gateway.audience import Audience
from services.gateway.dashboard import Composition, Picture
from services.gateway.outgoing import Outgoing
from services.gateway.rates import Throttle
from services.gateway.recipients import Out
from services.gateway.viewer import Indirect
from services.gateway.viewstate import Verdict, ViewState
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.worlds import EVERY, Client, dashboard, panel

START = 1_000_000
BOARD = dashboard(panel("load", "load"), window="30m")
VIEW = next(iter(Composition(BOARD, "r1").views))


@dataclass
class Feed:
    """What lies in Redis. keeps_terms: False: merges of a version that does not."""

    keeps_terms: bool = True
    now: int = START
    stored: Merge = field(default_factory=Merge)
    terms: Terms = ()
    past: list[tuple[Merge, Terms]] = field(default_factory=list)
    gateways: list["Gateway"] = field(default_factory=list)

    def history(self, after: int) -> ViewHistory:
        return replace(self.stored.history(after), terms=self.terms)

    def commit(self, held: int, version: int, terms: Terms | None, first: int, values: Mapping[tuple[int, int], float]) -> bool:
        """One step, when it is built from what lies there; everybody who is connected will hear of it."""
        if self.stored.version != held:
            return False
        self.past.append((copy.deepcopy(self.stored), self.terms))
        change = self.stored.write(values, step=version - held)
        if self.keeps_terms:
            self.terms = self.terms if terms is None else terms
            change = msgspec.structs.replace(change, first=first)
        for gateway in self.gateways:
            if gateway.connected:
                gateway.inbox.append(change)
        return True

    def fail_over(self, lost: int) -> None:
        """A replica is promoted that has not got the last so many versions. Connections end; what was on its way may still come."""
        for _ in range(min(lost, len(self.past))):
            self.stored, self.terms = self.past.pop()
        for gateway in self.gateways:
            gateway.connected = False


class Owner:
    """A merge. chance: where its tags begin. skew: by how many ms its clock is ahead."""

    def __init__(self, feed: Feed, chance: int, skew: int = 0) -> None:
        self.feed, self.chance, self.skew = feed, chance, skew
        self.take_over()

    def take_over(self) -> None:
        self.held, self.terms, self.first = self.feed.stored.version, self.feed.terms, 0
        self.chance += 100

    def write(self, values: Mapping[tuple[int, int], float], sure: bool = True) -> bool:
        """Whether it was taken. sure: False: the answer is lost."""
        tag = self.first % STEP or free_tag(self.terms, self.chance)
        if not self.feed.keeps_terms:
            tag = 0
        version = next_version(self.held, self.feed.now + self.skew, tag)
        terms = None if self.first else begun(self.terms, self.held, version)
        first = self.first or version
        taken = self.feed.commit(self.held, version, terms, first, values)
        if not sure:
            self.first = 0
        elif taken:
            self.held, self.terms, self.first = version, self.terms if terms is None else terms, first
        else:
            self.take_over()
        return taken


@dataclass(eq=False)
class Seat(Indirect):
    """A viewer."""

    clogged: bool = False
    deflated: bool = False
    client: Client = field(default_factory=Client)
    kinds: list[str] = field(default_factory=list)

    def send(self, message: Outgoing) -> None:
        said = live.decode_server(message.payload)
        if isinstance(said, Snapshot) or (isinstance(said, Delta) and said.views):
            self.kinds.append(message.kind)
        self.client.hear(said)

    def close(self, code: int, reason: str = "") -> None:
        """Nobody is closed here."""


class Gateway:
    """One that holds the view and serves viewers."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.inbox: list[Change] = []
        self.connected = False
        self.whole = True
        self.slow: tuple[ViewHistory, int, int] | None = (
            None  # what is on its way, after which version, and what was here when it was asked for
        )
        self.state = ViewState(EVERY, 3_600_000)
        self.picture = Picture(Composition(BOARD, "r1"), {VIEW: self.state})
        self.audience = Audience("host", Throttle(START))
        feed.gateways.append(self)
        self.connect()

    def connect(self) -> None:
        """Another connection: what was on its way on the old one does not come any more."""
        self.inbox.clear()
        self.connected = True
        self.read()

    def ask(self) -> None:
        """Begin to read."""
        after = -1 if self.whole else self.state.version
        self.slow = self.feed.history(after), after, self.state.version

    def read(self) -> None:
        """Read until it is done."""
        if self.slow is None:
            self.ask()
        while self.slow is not None:
            (history, after, had), self.slow = self.slow, None
            self.whole = not self.state.load(history, after, had)
            if self.whole:
                self.ask()

    def hear(self, lost: bool = False) -> None:
        """The next message; lost: it does not come."""
        if not self.inbox:
            return
        change = self.inbox.pop(0)
        if lost:
            return
        verdict = self.state.apply(change)
        if verdict in (Verdict.other_epoch, Verdict.forked):
            self.whole = True
        if verdict in (Verdict.other_epoch, Verdict.forked, Verdict.gap):
            if self.slow is not None:
                self.read()
            self.read()

    def seat(self, seat: Seat, since: Since | None) -> None:
        """A viewer comes, perhaps with what it has of another gateway."""
        self.audience.ask(seat, since, 20, self.feed.now)
        if since is not None and self.picture.ahead(since):
            self.read()

    def leave(self, seat: Seat) -> None:
        self.audience.leave(seat)

    def tick(self) -> None:
        self._write(self.audience.tick(self.picture, self.feed.now))
        self._write(self.audience.answer(self.picture, list(self.audience.waiting), self.feed.now))

    def _write(self, outs: Iterable[Out]) -> None:
        for out in outs:
            for viewer in out.viewers:
                viewer.send(out.message)
