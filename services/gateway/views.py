"""Views that somebody here watches: subscribed while they are held, read from history whenever something may be missing.

The shell around ViewState. It subscribes before it reads, so that there is no gap between the two; every return of the
feed counts as a gap. Who holds a view counts it: `open` and `close` belong together.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
from redis.asyncio import Redis

from services.contract.history import Change, HistoryError, decode_change
from services.contract.names import view_channel
from services.gateway import metrics
from services.gateway.viewstate import Verdict, ViewState
from services.transport.feed import FeedErrors, Subscription
from services.transport.history import read_view

log = structlog.get_logger()

READERS: Final = 8  # at once; the rest of a large dashboard waits its turn
RETRY_S: Final = 0.3
_COUNTS: Final = {verdict.value: metrics.CHANGES.labels(verdict.value) for verdict in Verdict}
_APPLIED: Final = _COUNTS[Verdict.applied.value]
MAX_PENDING: Final = 256  # changes that wait for the first read of a view; what is beyond is read


@dataclass(slots=True)
class Held:
    """A view that is held. loaded: its history was read once. whole: not even what is known may be trusted to be all."""

    view: str
    state: ViewState
    opened: int
    holders: int = 0
    loaded: bool = False
    whole: bool = True
    again: bool = False
    reading: asyncio.Task[None] | None = None
    pending: list[Change] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return self.loaded and not self.whole

    @property
    def settled(self) -> bool:
        """Nothing of it is being read."""
        return self.ready and (self.reading is None or self.reading.done())


class Views:
    """on_feed hears why the feed is away, or nothing when it is back."""

    def __init__(self, redis: Redis, clock: Callable[[], int], on_feed: Callable[[str], None]) -> None:
        self._redis = redis
        self._clock = clock
        self._on_feed = on_feed
        self._held: dict[str, Held] = {}
        self._channels: dict[str, Held] = {}
        self._readers = asyncio.Semaphore(READERS)
        self._subscription = Subscription(redis, self)
        self.begun: set[str] = set()  # held since the last time somebody took note
        self.on_begun: Callable[[], None] = lambda: None
        self.on_changed: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._subscription.run()
        finally:
            for held in self._held.values():
                if held.reading:
                    held.reading.cancel()

    def open(self, view: str, every_ms: int, window_ms: int) -> Held:
        """Hold a view with at least this window."""
        held = self._held.get(view)
        if held is None:
            held = self._held[view] = Held(view, ViewState(every_ms, window_ms), self._clock())
            self._channels[view_channel(view)] = held
            self._subscription.add(view_channel(view))
            self.begun.add(view)
            self.on_begun()
            metrics.VIEWS.set(len(self._held))
        elif window_ms > held.state.window_ms:
            held.state.window_ms = window_ms
            held.whole = True
            if held.loaded:
                self._read(held, "window")
        held.holders += 1
        return held

    def close(self, view: str) -> None:
        held = self._held[view]
        held.holders -= 1
        if held.holders:
            return
        del self._held[view], self._channels[view_channel(view)]
        self.begun.discard(view)
        self._subscription.remove(view_channel(view))
        if held.reading:
            held.reading.cancel()
        metrics.VIEWS.set(len(self._held))

    def seek(self, view: str) -> None:
        """Somebody has more of a view than is here: read what there is."""
        held = self._held[view]
        if held.loaded:
            self._read(held, "ahead")

    def behind(self, there: Mapping[str, int]) -> list[str]:
        """Views of which less was heard than these versions, and that are not being read."""
        return [
            view
            for view, version in there.items()
            if (held := self._held.get(view)) and held.settled and held.state.version < version
        ]

    def hear_anew(self) -> None:
        """Subscribe over another connection; what was missed is read then."""
        self._subscription.renew()

    # Listener of the subscription.

    def subscribed(self, channel: str) -> None:
        self._on_feed("")
        if held := self._channels.get(channel):
            self._read(held, "return" if held.loaded else "begin")

    def lost(self, reason: str) -> None:
        metrics.RECONNECTS.inc()
        self._on_feed(reason)

    def received(self, channel: str, data: bytes) -> None:
        held = self._channels.get(channel)
        if held is None:
            return
        try:
            change = decode_change(data)
            if held.loaded:
                self._apply(held, change)
            elif len(held.pending) < MAX_PENDING:
                held.pending.append(change)
        except (HistoryError, ValueError, OverflowError) as error:
            log.warning("a change of a view cannot be read", view=held.view, reason=str(error))
            metrics.CHANGES.labels("unreadable").inc()

    def _apply(self, held: Held, change: Change) -> None:
        verdict = held.state.apply(change)
        if verdict is Verdict.applied:  # as nearly always
            _APPLIED.inc()
            self.on_changed()
            return
        _COUNTS[verdict.value].inc()
        match verdict:
            case Verdict.gap:
                self._read(held, "gap")
            case Verdict.other_epoch:
                held.whole = True
                self._read(held, "epoch")
            case Verdict.forked:
                log.warning("the feed has lost what was heard of a view", view=held.view)
                held.whole = True
                self._read(held, "fork")

    def _read(self, held: Held, why: str) -> None:
        """Read what is missing; once more, when that is under way already."""
        metrics.READS.labels(why).inc()
        if held.reading and not held.reading.done():
            held.again = True
        else:
            held.reading = asyncio.create_task(self._read_until_done(held))

    async def _read_until_done(self, held: Held) -> None:
        while True:
            held.again = False
            try:
                async with self._readers:
                    done = await self._read_once(held)
            except FeedErrors:
                done = False
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # of a version that this one cannot read: one view is bad, the others go on
                done = False
                log.warning("a view's history cannot be read", view=held.view, reason=str(error))
                await asyncio.sleep(RETRY_S * 10)
            if done and not held.again:
                return

    async def _read_once(self, held: Held) -> bool:
        had = held.state.version
        after = -1 if held.whole or not held.loaded else had
        history = await read_view(self._redis, held.view, after)
        if history is not None and not held.state.load(history, after, had):
            held.whole = True
            return False
        # Where nothing lies although something did, Redis has lost it: what is known stays until somebody writes again.
        held.loaded, held.whole = True, held.whole and after >= 0  # who asked for all of it meanwhile has not got it
        self.on_changed()
        pending, held.pending = held.pending, []
        for change in pending:
            self._apply(held, change)
        return True
