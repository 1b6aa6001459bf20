"""Python's garbage collector, so that it does not stand in the way of ticks: what lives long is not looked at again and again.

A full collection looks at every object, and a gateway with thousands of viewers or an aggregator with thousands of cells has hundreds of
thousands of them that nearly all stay. What survives one is frozen: it is not looked at any more, so that the next one takes as long as what came since. Freezing
right after a full collection freezes no garbage. What becomes garbage later, and not by its counts of references, is found when
all is thawed once an hour.
"""

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client import Histogram

YOUNG: Final = 10_000  # objects more, before the youngest are collected; Python's 700 are the traffic of a few messages
MIDDLE: Final = 20
THAW_S: Final = 3_600.0


class Garbage:
    """From `begin` to `end`, of a process that is one service's alone. pauses: seconds, by the oldest generation that was looked at; clock: monotonic seconds."""

    def __init__(self, pauses: Histogram, clock: Callable[[], float] = time.perf_counter) -> None:
        self._pauses = pauses
        self._clock = clock
        self._begun_at = 0.0
        self._thawed_at = 0.0
        self._before: tuple[int, int, int] | None = None

    def begin(self) -> None:
        """All that was needed to start is frozen."""
        self._before = gc.get_threshold()
        gc.set_threshold(YOUNG, MIDDLE, self._before[2])
        gc.callbacks.append(self._collected)
        self._thawed_at = self._clock()
        gc.collect()

    def end(self) -> None:
        """As it was."""
        if self._before is None:
            return
        gc.callbacks.remove(self._collected)
        gc.set_threshold(*self._before)
        gc.unfreeze()
        self._before = None

    def _collected(self, phase: str, info: Mapping[str, Any]) -> None:
        full = info["generation"] == 2
        if phase == "start":
            self._begun_at = self._clock()
            if full and self._begun_at - self._thawed_at >= THAW_S:
                self._thawed_at = self._begun_at
                gc.unfreeze()
            return
        if full:
            gc.freeze()
        self._pauses.labels(str(info["generation"])).observe(self._clock() - self._begun_at)
