"""Faults of ours that must not become everybody's: an exception that nobody expected, of one viewer, one dashboard or one tick.

Where they are caught is the matter of the hub and the writer. Each is counted; of the same kind one is logged now and then, since what fails in a tick fails in the next one too.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from services.gateway import metrics
from services.runtime.logs import Collapse

log = structlog.get_logger()

TOLD_EVERY_S: Final = 5.0  # of the same kind, into the log


class Faults:
    """clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told = Collapse(TOLD_EVERY_S)

    def caught(self, what: str, event: str, error: Exception, **named: Any) -> None:
        """what: whose trouble it is, as the metric names it. event, named: for the log."""
        metrics.FAULTS.labels(what).inc()
        if (held := self._told.admit((event, type(error)), self._clock())) is not None:
            log.error(event, exc_info=error, **named, **({"repeated": held} if held else {}))
