"""Writes messages to viewers: one to all who get it, in slices between which others have their turn, and counts what was written.

Most of a message's cost is here, in the sends; what is written, and to whom, is decided elsewhere (audience, streams).
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from services.gateway import metrics, sends
from services.gateway.faults import Faults
from services.gateway.frames import Closed
from services.gateway.outgoing import Outgoing
from services.gateway.recipients import Lot, Out, lots
from services.gateway.viewer import Viewer

SLICE_NS: Final = 5_000_000  # of sends before others get their turn


class _Written(NamedTuple):
    """To how many viewers something was written, and how many of them read it compressed."""

    written: int
    deflated: int


_NONE: Final = _Written(0, 0)


class Writer:
    """clock: epoch ms. lost: hears of a viewer that can neither be written to nor closed, and so will not say that it has gone."""

    def __init__(
        self, clock: Callable[[], int], faults: Faults, lost: Callable[[Viewer], None], by: sends.Sends | None = None
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._lost = lost
        self._sends = by or sends.best()
        self._ends_ns = 0  # of the slice, monotonic

    @property
    def way(self) -> str:
        """How it sends, for a person."""
        return "in Python" if self._sends is sends.in_python else "compiled"

    def begin(self) -> None:
        """Others have just had their turn."""
        self._ends_ns = time.monotonic_ns() + SLICE_NS

    async def write(self, out: Out) -> None:
        """Who is clogged does not get it, and is told to `out.missed`."""
        message, left = out.message, [*out.viewers.lots]
        written = deflated = 0
        while left:
            if time.monotonic_ns() > self._ends_ns:
                await asyncio.sleep(0)
                self.begin()
            lot = left.pop()
            if lot.stale:
                left += lots(lot)
                lot = left.pop()
            tried, some = self._straight(message, lot) if lot.straight else self._through(out, lot)
            written, deflated = written + some.written, deflated + some.deflated
            if tried < len(lot):
                left.append(lot.after(tried))
            if message.content.cells and some.written:
                metrics.VIEWER_FRESHNESS.observe(self._age_s(message.content.newest), some.written)
        self._count(message, written, deflated)

    def _straight(self, message: Outgoing, lot: Lot) -> tuple[int, _Written]:
        """On their sockets. How many have had their turn, and got it."""
        try:
            frame = message.frame(lot.deflated)
            tried, taken = self._sends(lot.fds, lot.first, frame, self._ends_ns)
        except Exception as error:  # who does not get it is not to stay as if it had
            for viewer in lot:
                self._failed(viewer, error)
            return len(lot), _NONE
        for viewer, bytes_ in zip(lot, taken, strict=False) if taken else ():
            if bytes_ < len(frame):
                try:
                    viewer.rest(memoryview(frame)[bytes_:])
                except Exception as error:
                    self._failed(viewer, error)
        return tried, _Written(tried, tried if lot.deflated else 0)

    def _through(self, out: Out, viewers: Iterable[Viewer]) -> tuple[int, _Written]:
        """By what they are. How many have had their turn, and who of them got it."""
        tried = written = deflated = 0
        for viewer in viewers:
            if tried and time.monotonic_ns() > self._ends_ns:
                break
            tried += 1
            try:
                if viewer.clogged:
                    out.missed(viewer)
                else:
                    viewer.send(out.message)
                    written += 1
                    deflated += viewer.deflated
            except Exception as error:
                self._failed(viewer, error)
        return tried, _Written(written, deflated)

    def _failed(self, viewer: Viewer, error: Exception) -> None:
        """One viewer's trouble is not the others'."""
        self._faults.caught("viewer", "a viewer could not be written to", error)
        try:
            viewer.close(Closed.INTERNAL_ERROR)
        except Exception as worse:
            self._faults.caught("viewer", "a viewer could not be closed", worse)
            self._lost(viewer)

    def _count(self, message: Outgoing, written: int, deflated: int) -> None:
        """A message has been written to so many viewers, so many of whom read it compressed."""
        metrics.FRAMES.labels(message.kind).inc(written)
        metrics.PAYLOAD_BYTES.inc(len(message) * written)
        metrics.BYTES.inc(message.written(written, deflated))
        metrics.CELLS.inc(message.content.cells * written)
        metrics.COALESCED.inc(message.content.overtaken * written)
        if written:
            for sampled, panels in message.content.panels:
                metrics.PANEL_FRESHNESS.observe(self._age_s(sampled), panels)

    def _age_s(self, sampled: int) -> float:
        return max(0, self._clock() - sampled) / 1_000
