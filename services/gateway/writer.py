"""Writes messages to viewers: one to all who get it, in slices between which others have their turn, and counts what was written.

Most of a message's cost is here, in the sends; what is written, and to whom, is decided elsewhere (audience, streams).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from services.gateway import metrics, sends
from services.gateway.faults import Faults
from services.gateway.frames import Closed
from services.gateway.outgoing import Outgoing
from services.gateway.viewer import SHUT, Out, Viewer

SLICE_S: Final = 0.005  # of sends before others get their turn
SLICE: Final = 128  # sends between two looks at the clock


class Writer:
    """clock: epoch ms. lost: hears of a viewer that can neither be written to nor closed, and so will not say that it has gone."""

    def __init__(
        self, clock: Callable[[], int], faults: Faults, lost: Callable[[Viewer], None], by: sends.Sends | None = None
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._lost = lost
        self._sends = by or sends.best()
        self._ends = 0.0  # of the slice, monotonic

    @property
    def way(self) -> str:
        """How it sends, for a person."""
        return "in Python" if self._sends is sends.in_python else "compiled"

    def begin(self) -> None:
        """Others have just had their turn."""
        self._ends = time.monotonic() + SLICE_S

    async def write(self, out: Out) -> None:
        """Who is clogged does not get it, and is told to `out.missed`."""
        message, viewers = out.message, out.viewers
        written = deflated = 0
        for at in range(0, len(viewers), SLICE):
            if time.monotonic() > self._ends:
                await asyncio.sleep(0)
                self.begin()
            some, packed = self._slice(out, viewers[at : at + SLICE])
            written, deflated = written + some, deflated + packed
            if message.content.cells:
                metrics.VIEWER_FRESHNESS.observe(self._age_s(message.content.newest), some)
        self._count(message, written, deflated)

    def _slice(self, out: Out, viewers: Sequence[Viewer]) -> tuple[int, int]:
        """To how many viewers it was written, and how many of them read it compressed."""
        plain = [viewer for viewer in viewers if viewer.fd != SHUT and not viewer.deflated]
        packed = [viewer for viewer in viewers if viewer.fd != SHUT and viewer.deflated] if len(plain) < len(viewers) else []
        others = [viewer for viewer in viewers if viewer.fd == SHUT] if len(plain) + len(packed) < len(viewers) else []
        deflated = self._straight(out.message, packed, deflated=True)
        written = deflated + self._straight(out.message, plain, deflated=False)
        for viewer in others:
            try:
                if viewer.clogged:
                    out.missed(viewer)
                else:
                    viewer.send(out.message)
                    written += 1
                    deflated += viewer.deflated
            except Exception as error:
                self._failed(viewer, error)
        return written, deflated

    def _straight(self, message: Outgoing, viewers: Sequence[Viewer], *, deflated: bool) -> int:
        """On their sockets; to how many it was written."""
        if not viewers:
            return 0
        try:
            frame = message.frame(deflated)
            taken = self._sends([viewer.fd for viewer in viewers], frame)
        except Exception as error:  # who does not get it is not to stay as if it had
            for viewer in viewers:
                self._failed(viewer, error)
            return 0
        for viewer, bytes_ in zip(viewers, taken or (), strict=False):
            if bytes_ < len(frame):
                try:
                    viewer.rest(frame[bytes_:])
                except Exception as error:
                    self._failed(viewer, error)
        return len(viewers)

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
