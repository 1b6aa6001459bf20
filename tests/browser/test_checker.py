"""The checks of `test_outages` can fail: what is lost or doubled on purpose, they find, and nothing else."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import WebSocketRoute

from tests.browser.conftest import Open
from tests.browser.numbered import A_SECOND, LANES, Numbered, Producer, cells, faults, once, spec
from tests.browser.posted import lines
from tests.browser.recording import joints, play
from tests.browser.system import System
from tests.browser.watching import Watched

METRIC = "numbered"
START = 1_795_385_020_000

Frame = dict[str, Any]


def numbered(n: int) -> list[Numbered]:
    return [Numbered(number, START + number * 50, accepted=1.0) for number in range(n)]


def counted(samples: list[Numbered]) -> dict[str, dict[tuple[str, int], float]]:
    """The cells that a system would have that counts these, each as often as it is there."""
    views: dict[str, dict[tuple[str, int], float]] = {"sum": {}, "count": {}}
    for sample in samples:
        views["sum"][sample.place] = views["sum"].get(sample.place, 0) + sample.posted_as(METRIC)["value"]
        views["count"][sample.place] = views["count"].get(sample.place, 0) + 1
    return views


def test_nothing_is_wrong_when_each_was_counted_once() -> None:
    samples = numbered(100)
    assert faults(once(samples), counted(samples)) == []


@pytest.mark.parametrize("number", [0, 41, 99])
def test_exactly_the_lost_sample_is_named(number: int) -> None:
    samples = numbered(100)
    assert faults(once(samples), counted(samples[:number] + samples[number + 1 :])) == [
        f"sample {number} was counted 0 times instead of 1"
    ]


@pytest.mark.parametrize("number", [0, 41, 99])
def test_exactly_the_doubled_sample_is_named(number: int) -> None:
    samples = numbered(100)
    assert faults(once(samples), counted([*samples, samples[number]])) == [f"sample {number} was counted 2 times instead of 1"]


def test_a_lost_sample_does_not_make_up_for_a_doubled_one() -> None:
    samples = numbered(100)
    wrong = faults(once(samples), counted([*samples[1:], samples[LANES]]))
    assert wrong == ["sample 0 was counted 0 times instead of 1", f"sample {LANES} was counted 2 times instead of 1"]


def test_what_nobody_posted_is_found() -> None:
    samples = numbered(100)
    assert faults(once(samples[:99]), counted(samples)) == [f"{samples[99].place} has {{4: 1}}, which nobody posted"]


def test_a_post_without_an_answer_may_count_once_more_and_no_more() -> None:
    samples = numbered(20)
    samples[7].unsure = 1
    assert faults(once(samples), counted([*samples, samples[7]])) == []
    assert len(faults(once(samples), counted([*samples, samples[7], samples[7]]))) == 1


def test_a_count_that_differs_from_its_sum_is_found() -> None:
    samples = numbered(20)
    views = counted(samples)
    views["count"][samples[3].place] += 1
    assert faults(once(samples), views) == [f"{samples[3].place} has 5 samples by their sum, 6 by their count"]


class Tampering:
    """Stands between a page and its gateway. change: what becomes of a delta, None: it is lost; deaf: what the page asks for is lost, too."""

    def __init__(self, change: Callable[[Frame], Frame | None]) -> None:
        self.change = change
        self.deaf = False

    def between(self, page: Watched) -> None:
        page.page.route_web_socket("**/api/v1/live", self._route)

    def _route(self, route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def from_page(message: str | bytes) -> None:
            if not self.deaf:
                server.send(message)

        def from_gateway(message: str | bytes) -> None:
            frame = json.loads(message)
            changed = self.change(frame) if frame["type"] == "delta" else frame
            if changed is not None:
                route.send(json.dumps(changed))

        route.on_message(from_page)
        server.on_message(from_gateway)


class Scene:
    """A page that shows numbered samples as they come, through somebody who may tamper with its frames."""

    def __init__(self, system: System, visit: Open, metric: str, change: Callable[[Frame], Frame | None] | None = None) -> None:
        self._metric = metric
        self.producer = Producer(system, metric)
        self.tampering = Tampering(change or (lambda frame: frame))
        system.write(metric, spec(metric))
        self.page: Watched = visit(f"/d/{metric}", before=self.tampering.between)
        self.page.until(lambda: "" if self.page.dashboard(metric) else "there is no snapshot yet")

    @property
    def frames(self) -> list[Frame]:
        """What the gateway has sent."""
        return [frame for frame in self.page.sockets[-1].received if frame["type"] in ("snapshot", "delta")]

    def wrong(self) -> list[str]:
        return faults(once(self.producer.samples), cells(self._metric, self.page.dashboard(self._metric)))

    def wrong_in(self, frames: list[Frame], *, healing: bool) -> list[str]:
        held = play(frames, healing=healing)
        views = {panel: held[of[0].view.id] for panel, of in lines("any", spec(self._metric)).items()}
        return faults(once(self.producer.samples), views)

    def run(self, n: int) -> None:
        """Until so many samples were accepted, and no more come."""
        with self.producer:
            self.page.until(lambda: "" if len(self.producer.samples) >= n else "too few samples were accepted")


def test_a_recording_tells_a_lost_and_a_doubled_frame(system: System, visit: Open) -> None:
    scene = Scene(system, visit, "recorded")
    scene.run(60)
    scene.page.until(lambda: str(scene.wrong() or ""))
    frames = scene.frames
    assert not joints(frames)
    assert not scene.wrong_in(frames, healing=True)

    at = max(i for i, frame in enumerate(frames) if frame["type"] == "delta" and any(part[5] for part in frame["views"]))
    without = frames[:at] + frames[at + 1 :]
    before = scene.wrong_in(frames[:at], healing=True)
    assert before, "the last frame brought nothing"
    assert scene.wrong_in(without, healing=False) == before, "exactly what the last frame brought is missing"

    doubled = [*frames[: at + 1], frames[at], *frames[at + 1 :]]
    assert joints(doubled) == [
        f"view {view} repeats {since} to {to}" for view, since, to, _, _, held in frames[at]["views"] if held
    ]
    assert not scene.wrong_in(doubled, healing=False), "cells are absolute, so that a frame twice does no harm"

    middle = next(i for i, frame in enumerate(frames) if i > len(frames) // 2 and frame["type"] == "delta" and frame["views"])
    holed = frames[:middle] + frames[middle + 1 :]
    assert joints(holed) == [f"view {view} misses {since} to {to}" for view, since, to, *_ in frames[middle]["views"]]
    assert scene.wrong_in(holed, healing=True), "what follows a hole was believed"


def test_a_page_that_is_not_told_some_cells_or_told_too_much_is_found_out(system: System, visit: Open) -> None:
    def lie(frame: Frame) -> Frame:
        start = scene.producer.start
        for part, extra in zip(frame["views"], (1, 1), strict=False):
            part[5] = [held for held in part[5] if held[0] != start + 1000]
            for held in part[5]:
                if held[0] == start + 2000:
                    held[2] = [value + extra for value in held[2]]
        return frame

    scene = Scene(system, visit, "untold", lie)
    scene.run(80)
    hidden = {f"sample {number} was counted 0 times instead of 1" for number in range(A_SECOND, 2 * A_SECOND)}
    doubled = {f"sample {2 * A_SECOND + lane} was counted 2 times instead of 1" for lane in range(LANES)}
    scene.page.until(lambda: "" if set(scene.wrong()) == hidden | doubled else str(scene.wrong()))


def test_a_lost_frame_stays_lost_until_the_page_is_answered(system: System, visit: Open) -> None:
    lost: list[Frame] = []

    def lose(frame: Frame) -> Frame | None:
        if lost or len(scene.producer.samples) < 20 or not frame["views"]:
            return frame
        lost.append(frame)
        scene.tampering.deaf = True
        return None

    scene = Scene(system, visit, "lost", lose)
    scene.run(60)
    scene.page.until(lambda: "" if lost and len(scene.producer.samples) >= 60 else "no frame was lost")
    scene.page.page.wait_for_timeout(500)  # for what would still come by itself
    wrong = scene.wrong()
    assert wrong and all("was counted 0 times" in fault for fault in wrong), wrong
    scene.tampering.deaf = False
    print(f"\nhealed after {scene.page.until(lambda: str(scene.wrong() or '')):.1f} s")
