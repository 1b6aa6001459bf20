"""Panels as Plotly.js reads them: who watches which, on top of a stage. The frames are `plotly`'s."""

from collections.abc import Iterator

import msgspec

from services.contract.live import CloseCode
from services.gateway.outgoing import Outgoing
from services.gateway.plotly import Frame, Stream
from services.gateway.recipients import Members, Out, Recipients
from services.gateway.stage import PATIENCE_MS, Stage
from services.gateway.viewer import Viewer


class PanelStream:
    """All viewers of one (dashboard, panel, max_points)."""

    def __init__(self, stage: Stage, panel: str, max_points: int, now: int) -> None:
        self.stage = stage
        self.viewers = Members()
        self.waiting: dict[Viewer, None] = {}
        self._panel = panel
        self._max_points = max_points
        self._stream: Stream | None = None
        self._shown = 0  # the stage's count that the stream was made of
        self._made_at = now

    @property
    def idle(self) -> bool:
        return not (self.viewers or self.waiting)

    def join(self, viewer: Viewer) -> None:
        """Answered by the next tick."""
        self.waiting[viewer] = None

    def leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        self.waiting.pop(viewer, None)

    def tick(self, now: int) -> Iterator[Out]:
        """What is to be written now, in this order. To be consumed whole."""
        if self.stage.shown != self._shown:
            self._make(now)
        if self._stream is None:
            if self.stage.shown:
                self._refuse()
            return
        if not self.stage.ready and now - self._made_at <= PATIENCE_MS:
            return
        if self.viewers:
            if frame := self._stream.tick(now):
                yield Out(_message(frame), self.viewers.recipients, self._missed)
        else:
            self._stream.start(now)
        if ready := [viewer for viewer in self.waiting if not viewer.clogged]:
            message = _message(self._stream.react(now))
            for viewer in ready:
                del self.waiting[viewer]
                self.viewers.add(viewer)
            yield Out(message, Recipients(ready), self._missed)

    def _missed(self, viewer: Viewer) -> None:
        """Who could not be sent a frame gets everything when it has drained."""
        if self.viewers.discard(viewer):
            self.waiting[viewer] = None

    def _make(self, now: int) -> None:
        """Another document: everybody starts again."""
        self._shown, self._made_at, self._stream = self.stage.shown, now, None
        self.waiting, self.viewers = {**dict.fromkeys(self.viewers), **self.waiting}, Members()
        if picture := self.stage.picture:
            plan = next((item for item in picture.composition.plans if item.panel.id == self._panel), None)
            if plan:
                self._stream = Stream(plan, picture.states, self._max_points)

    def _refuse(self) -> None:
        fault = self.stage.fault
        reason = fault.reason if fault else f"dashboard {self.stage.name!r} has no panel {self._panel!r}"
        message = Outgoing("plotly_error", msgspec.json.encode({"action": "error", "reason": reason}))
        refused, self.waiting = self.waiting, {}
        for viewer in refused:
            viewer.send(message)
            viewer.close(CloseCode.bad_message, reason)


def _message(frame: Frame) -> Outgoing:
    return Outgoing(f"plotly_{frame['action']}", msgspec.json.encode(frame))
