"""Who watches a panel as Plotly reads it, over a stage whose clock the test turns: a reader that misses a frame gets everything instead."""

from typing import Any

import pytest

from services.gateway.streams import PanelStream
from tests.unit.gateway.test_stage import START, Seat, World
from tests.unit.gateway.worlds import payload

EVERY_MS = 1_000


class Panel:
    """A stream of the dashboard's first panel, one bucket of which is closed."""

    def __init__(self) -> None:
        self.world = World()
        self.world.read()
        self.world.beat()
        self.world.tick()
        self.bucket = START
        self.stream = PanelStream(self.world.stage, "load", 200, self.world.now)
        self.close()

    def close(self) -> int:
        """Another bucket has a value and is closed; its start."""
        (held, *_) = self.world.stage.held
        closed, self.bucket = self.bucket, self.bucket + EVERY_MS
        held.state.apply(self.world.merges[held.view].write({(closed, 0): float(closed)}, closed=self.bucket))
        self.world.now += EVERY_MS
        return closed

    def join(self) -> Seat:
        seat = Seat()
        self.stream.join(seat)
        return seat

    def tick(self) -> None:
        """As the hub does it."""
        for out in self.stream.tick(self.world.now):
            for viewer in out.viewers:
                if viewer.clogged:
                    out.missed(viewer)
                else:
                    viewer.send(out.message)


def shown(seat: Seat) -> list[tuple[str, list[int]]]:
    """What a page was sent: what it does with it, and the times of the points."""
    return [_shown(payload(frame)) for frame in seat.frames]


def _shown(frame: dict[str, Any]) -> tuple[str, list[int]]:
    (trace,) = frame["traces"]
    return frame["action"], trace["x"][0] if frame["action"] == "extend" else trace["x"]


@pytest.fixture
def panel() -> Panel:
    return Panel()


def test_who_misses_a_frame_gets_everything_when_it_has_drained_and_then_what_all_get(panel: Panel) -> None:
    slow, brisk = panel.join(), panel.join()
    panel.tick()
    assert shown(slow) == shown(brisk) == [("react", [START])]
    slow.clogged = True
    missed = [panel.close()]
    panel.tick()
    missed.append(panel.close())
    panel.tick()
    assert len(slow.frames) == 1 and not panel.stream.idle
    assert shown(brisk)[1:] == [("extend", [at]) for at in missed]
    slow.clogged = False
    panel.tick()
    assert shown(slow)[1:] == [("react", [START, *missed])]
    assert len(brisk.frames) == 3, "nobody else is sent it again"
    after = panel.close()
    panel.tick()
    assert shown(slow)[2:] == [("extend", [after])]
    assert slow.frames[-1] is brisk.frames[-1], "it is in step again"


def test_who_misses_everything_while_it_is_brought_to_now_is_brought_to_now_again(panel: Panel) -> None:
    slow, brisk = panel.join(), panel.join()
    panel.tick()
    slow.clogged = True
    one = panel.close()
    panel.tick()
    slow.clogged = False
    for out in panel.stream.tick(panel.world.now):
        slow.clogged = True  # between the tick and its turn
        for viewer in out.viewers:
            assert viewer.clogged
            out.missed(viewer)
    slow.clogged = False
    panel.tick()
    assert shown(slow)[1:] == [("react", [START, one])], "though nothing has happened since"
    assert shown(brisk)[1:] == [("extend", [one])]


def test_who_leaves_while_it_is_clogged_is_forgotten(panel: Panel) -> None:
    slow = panel.join()
    panel.tick()
    slow.clogged = True
    panel.close()
    panel.tick()
    panel.stream.leave(slow)
    slow.clogged = False
    panel.tick()
    assert len(slow.frames) == 1 and panel.stream.idle
