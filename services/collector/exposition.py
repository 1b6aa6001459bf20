"""Exposition: Prometheus' text format, as far as Tideboard's own services write it. Pure.

Reads `tideboard_*` and two metrics of the process; of histograms the sum and the count. What stands before a line's value
hardly ever changes, so it is understood once and found by its bytes afterwards: some microseconds per endpoint.
"""

import math
import re
from collections.abc import Iterator
from typing import Final

from services.collector.readings import Sample

_WANTED: Final = ("tideboard_", "process_cpu_seconds_total", "process_resident_memory_bytes")
_LEFT_OUT: Final = ("_bucket", "_created")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")
_MAX_KNOWN: Final = 10_000

_Series = tuple[str, dict[str, str], str]  # metric, labels, kind


class Reader:
    """Reads one endpoint again and again. service: the label of what it says; instance: a second one, where a service has several endpoints."""

    def __init__(self, service: str, instance: str = "") -> None:
        self._labels = {"service": service} | ({"instance": instance} if instance else {})
        self._known: dict[str, _Series | None] = {}
        self._types: dict[str, str] = {}

    def read(self, text: str) -> Iterator[Sample]:
        """The samples of one answer. Lines that are not understood are passed over."""
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        for line in text.split("\n"):
            if not line.startswith(_WANTED):
                if line.startswith("# TYPE "):
                    self._learn(line)
                continue
            head, _, number = line.rpartition(" ")
            if head in self._known:
                series = self._known[head]
            else:
                series = self._known[head] = self._series(head)
            if series is None:
                continue
            try:
                value = float(number)
            except ValueError:
                continue
            if math.isfinite(value):
                yield Sample(series[0], series[1], value, series[2])

    def _learn(self, line: str) -> None:
        if len(words := line.split(" ")) == 4:
            self._types[words[2]] = words[3]

    def _series(self, head: str) -> _Series | None:
        """What a line is about; None where it is of no interest."""
        name, brace, rest = head.partition("{")
        if name.endswith(_LEFT_OUT):
            return None
        labels = dict(self._labels)
        if brace:
            labels |= {found[1]: _ESCAPE.sub(_unescape, found[2]) for found in _LABEL.finditer(rest)}
        return name, labels, self._kind(name)

    def _kind(self, name: str) -> str:
        if name in self._types:
            return "counter" if self._types[name] == "counter" else "gauge"
        for suffix in ("_sum", "_count", "_total"):
            base = name.removesuffix(suffix)
            if base != name and self._types.get(base) in ("histogram", "summary", "counter"):
                return "counter"
        return "gauge"


def _unescape(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]
