"""Numbered samples: a producer that posts them until they are accepted, and the check that each was counted exactly once.

The samples of one second and lane are worth 1, 8, 64, ...: the digits of their sum, to base 8, say how often each was counted.
Nothing else could tell a lost sample and a doubled one from a healthy pair.
"""

import http.client
import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.contract.views import Line
from tests.browser.posted import lines
from tests.browser.system import Sample, System, ask

A_SECOND = 20
LANES = 4
BASE = 8
_PERIOD_MS = 1000 // A_SECOND

Place = tuple[str, int]  # lane, start of the second


def spec(metric: str) -> dict[str, Any]:
    """A dashboard that shows numbered samples."""
    query = {"metric": metric, "by": ["lane"], "every": "1s"}
    return {
        "title": "Numbered samples",
        "window": "5m",
        "panels": [
            {"id": "sum", "type": "timeseries", "query": {**query, "fn": "sum"}},
            {"id": "count", "type": "stat", "query": {**query, "fn": "count"}},
        ],
    }


@dataclass
class Numbered:
    """One sample. begun: when it was first posted; accepted: when it was answered 202; unsure: posts of it that may or may not have counted."""

    number: int
    time: int
    begun: float = 0.0
    accepted: float = 0.0
    unsure: int = 0

    @property
    def place(self) -> Place:
        return f"lane-{self.number % LANES}", self.time // 1000 * 1000

    @property
    def digit(self) -> int:
        return self.number % A_SECOND // LANES

    def posted_as(self, metric: str) -> Sample:
        return {
            "metric": metric,
            "labels": {"lane": self.place[0]},
            "time": self.time,
            "value": BASE**self.digit,
            "kind": "delta",
        }


@dataclass(frozen=True)
class Copies:
    """How often a sample may have been counted."""

    sample: Numbered
    least: int = 1
    most: int = 1


class Producer:
    """Posts A_SECOND samples a second from a thread of its own; a sample without a 202 is posted again, in its place.

    start: time of the first one, epoch ms; a full second after it was entered.
    """

    def __init__(self, system: System, metric: str) -> None:
        self._system = system
        self._metric = metric
        self.start = 0
        self._samples: list[Numbered] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)

    def __enter__(self) -> "Producer":
        self.start = (time.time_ns() // 1_000_000_000 + 1) * 1000
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin nothing new, and wait until everything that was begun has been accepted."""
        self._ending.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "samples are still not accepted"

    @property
    def samples(self) -> list[Numbered]:
        """Everything that has been accepted so far."""
        return [sample for sample in list(self._samples) if sample.accepted]

    def _run(self) -> None:
        waiting: list[Numbered] = []
        while waiting or not self._ending.is_set():
            if not self._ending.is_set():
                waiting += self._due()
            if waiting and self._post(waiting):
                waiting = []
            time.sleep(_PERIOD_MS / 1000)

    def _due(self) -> list[Numbered]:
        n = max(0, (int(time.time() * 1000) - self.start) // _PERIOD_MS)
        due = [Numbered(number, self.start + number * _PERIOD_MS) for number in range(len(self._samples), n)]
        self._samples += due
        return due

    def _post(self, waiting: list[Numbered]) -> bool:
        now = time.monotonic()
        for sample in waiting:
            sample.begun = sample.begun or now
        body = json.dumps([sample.posted_as(self._metric) for sample in waiting]).encode()
        try:
            code, body = ask(self._system.ingestor, "POST", "/api/v1/samples", body)
        except ConnectionRefusedError:
            return False
        except (OSError, http.client.HTTPException):
            code, body = 0, b""
        if code == 202:
            assert not json.loads(body)["rejected"], body
        for sample in waiting:
            if code == 202:
                sample.accepted = time.monotonic()
            else:
                sample.unsure += 1
        return code == 202


def once(samples: Iterable[Numbered]) -> list[Copies]:
    """Every accepted sample counts once; a post that got no answer may have counted as well, and nobody can know."""
    return [Copies(sample, 1, 1 + sample.unsure) for sample in samples]


def faults(copies: Iterable[Copies], views: Mapping[str, Mapping[Place, float]]) -> list[str]:
    """Which samples were not counted as often as they must be. views: the cells of `sum` and of `count`."""
    wrong: list[str] = []
    counted = {place: digits(value) for place, value in views["sum"].items()}
    for each in copies:
        found = counted.get(each.sample.place, {}).pop(each.sample.digit, 0)
        if not each.least <= found <= each.most:
            wrong.append(
                f"sample {each.sample.number} was counted {found} times instead of {each.least}"
                + (f" to {each.most}" if each.most > each.least else "")
            )
    wrong += [f"{place} has {rest}, which nobody posted" for place, rest in counted.items() if rest]
    for place in views["sum"].keys() | views["count"].keys():
        both = sum(digits(views["sum"].get(place, 0.0)).values()), views["count"].get(place, 0.0)
        if both[0] != both[1]:
            wrong.append(f"{place} has {both[0]} samples by their sum, {both[1]} by their count")
    return sorted(wrong)


def digits(value: float) -> dict[int, int]:
    """How often each sample is in a sum."""
    rest, at, found = int(value), 0, {}
    assert rest == value, f"{value} is not a sum of numbered samples"
    while rest:
        rest, times = divmod(rest, BASE)
        if times:
            found[at] = times
        at += 1
    return found


def cells(metric: str, dashboard: Mapping[str, Any] | None) -> dict[str, dict[Place, float]]:
    """The cells of `sum` and of `count` in what a page holds."""
    return {panel: _cells(dashboard, of[0]) for panel, of in lines("any", spec(metric)).items()}


def _cells(dashboard: Mapping[str, Any] | None, line: Line) -> dict[Place, float]:
    groups = dashboard["views"][line.view.id]["groups"] if dashboard else []
    return {(group["labels"]["lane"], start): value for group in groups for start, value in group["cells"]}
