"""Logging: structlog for us, and the standard library's loggers (uvicorn, aiokafka) through the same door.

Human lines in a terminal, one JSON object per line otherwise, both on standard error. A library that repeats itself during
an outage is heard once every few seconds, with a count of what was left out.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

from services.runtime.settings import setting

LEVELS: Final = ("debug", "info", "warning", "error")
_REPEAT_S: Final = 5.0
_MOST_KEYS: Final = 1_000
_MOST_REASONS: Final = 4
_NUMBERS: Final = re.compile(r"[0-9.]+")
# kopf tells of every attempt; what comes of them is told by the operator (services.operator.watching).
_QUIET: Final = {"uvicorn": "WARNING", "asyncio": "WARNING", "aiokafka": "WARNING", "kopf": "CRITICAL"}


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How a process tells what it does."""

    level: str = setting(
        "info",
        "TIDEBOARD_LOG_LEVEL",
        "What is logged: this and what is worse. The target all, where it is not told, logs warnings only",
        choices=LEVELS,
    )
    format: str = setting(
        "auto", "TIDEBOARD_LOG_FORMAT", "Lines for people, JSON, or what fits where they go", choices=("auto", "human", "json")
    )

    @property
    def console(self) -> bool | None:
        return {"human": True, "json": False}.get(self.format)


class Collapse:
    """Lets the same key through once per interval, with how often it was held back since."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def admit(self, key: Hashable, now: float) -> int | None:
        """How many were held back before this one; None: hold this one back, too."""
        since, held = self._seen.get(key, (-self._interval_s, 0))
        if now - since < self._interval_s and key in self._seen:
            self._seen[key] = since, held + 1
            return None
        if len(self._seen) >= _MOST_KEYS:
            self._seen.clear()
        self._seen[key] = now, 0
        return held


class Reasons:
    """Why something is away, while it is tried again and again: each reason is told once until it is back.

    The first one may hide the one that matters: a network that is not there yet, and then a password that is wrong. Reasons
    that differ in numbers only are one, and after a few of them no more are told.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def new(self, reason: str) -> bool:
        """Whether it is to be told."""
        reason = _NUMBERS.sub("0", reason)
        if reason in self._told or len(self._told) == _MOST_REASONS:
            return False
        self._told.add(reason)
        return True

    def over(self) -> None:
        """It is back."""
        self._told.clear()


class _RepeatFilter(logging.Filter):
    """Collapses what libraries log; our own events come with `_record` fields of their own and pass."""

    def __init__(self) -> None:
        super().__init__()
        self._collapse = Collapse(_REPEAT_S)

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, dict):  # structlog's events arrive as dictionaries
            return True
        if record.exc_info and record.exc_info[0] is asyncio.CancelledError:  # uvicorn, of requests that we cut when we end
            return False
        held = self._collapse.admit((record.name, record.levelno, record.msg), record.created)
        if held:
            record.repeated = held
        return held is not None


def configure(service: str, *, console: bool | None = None, level: str = "info") -> None:
    """Log from here on. console: True for people, False for JSON, None: for people where standard error is a terminal."""
    terminal = sys.stderr.isatty()
    human = terminal if console is None else console
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_RepeatFilter())
    handler.setFormatter(_formatter(service, human=human, colors=terminal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(logging.getLevelName(least), root.level))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _formatter(service: str, *, human: bool, colors: bool) -> logging.Formatter:
    def name_service(_: Any, __: str, event: EventDict) -> EventDict:
        return {"service": service, **event}

    rendering: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if human:
        # Where rich is installed, structlog would print the variables of every frame: tokens and passwords among them.
        plain = structlog.dev.plain_traceback
        rendering += [_for_a_person, structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, exception_formatter=plain)]
    else:
        rendering += [name_service, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=["repeated"]),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=rendering,
    )


def _for_a_person(_: Any, __: str, event: EventDict) -> EventDict:
    """At a terminal the time of the day is enough, and who speaks comes first."""
    event["timestamp"] = str(event.get("timestamp", ""))[11:19]
    if speaker := event.pop("service", ""):
        event["event"] = f"{speaker}: {event['event']}"
    return event
