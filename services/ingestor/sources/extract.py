"""Extract: samples out of one JSON value, as the readings of a source say. Pure.

What is found is raw: names are judged when a series is first seen (`tables`), times against the record (`decode`).
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from services.contract.paths import Path, Step
from services.contract.series import Kind
from services.contract.sources import STANDARD, Reading
from services.ingestor.columns import rfc_3339
from services.ingestor.samples import MAX_TEXT, Fault

Labels = tuple[tuple[str, str], ...]

COUNTER: Final = Kind.counter.name

MAX_DIGITS: Final = 40
"""Of a time in whole numbers; Python does not read thousands of them."""
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_PER_MS: Final = {"s": 1_000.0, "ms": 1.0, "us": 0.001, "ns": 0.000001}
_DIVISORS: Final = {"us": 1_000, "ns": 1_000_000}


class Row(NamedTuple):
    """A sample as it was found. labels: without those that a source adds; time: epoch ms, None where the record's own is meant.

    start: of a counter: since when it counts, epoch ms, None where nobody says.
    """

    metric: str
    kind: str
    labels: Labels
    value: float
    time: int | None
    start: int | None = None


class _Bad(Exception):  # noqa: N818, it never leaves this module
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.fault = Fault(code, reason)


class Extractor:
    """The readings of a source, ready to be used again and again."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._standard = tuple(readings) == (STANDARD,)
        self._samples = [_Sample(reading) for reading in readings]

    def rows(self, value: object) -> list[Row | Fault]:
        """Every sample that should be there, in an order that is always the same: what is wrong with it in its place."""
        if self._standard and type(value) is list:
            return [found for item in value for found in self._samples[0].rows(item)]
        return [found for sample in self._samples for found in sample.rows(value)]


class _Field:
    """A path of a sample: where it begins (so many lists deep), and what is left of it from there."""

    def __init__(self, path: Path, name: str) -> None:
        loops = path.loops
        self.depth = len(loops)
        self.key = path.key
        self.steps = path.steps[len(loops[-1]) if loops else 0 :]
        self.name = name
        self.where = f"{name} at {path}"

    def of(self, places: Sequence[Any], keys: Sequence[str | int]) -> Any:
        """What lies there; None for nothing."""
        return keys[self.depth] if self.key else _find(places[self.depth], self.steps)


class _Sample:
    """One reading. Fields are read at places: the whole value, then the item of each list that is gone through."""

    def __init__(self, reading: Reading) -> None:
        self._loops = _relative(reading.loops)
        self._metric = _field(reading.metric, "metric")
        self._value = _field(reading.value, "value")
        self._kind = _field(reading.kind, "kind")
        self._time = None if reading.time is None else _Field(reading.time, "time")
        self._start = None if reading.start is None else _Field(reading.start, "start")
        self._unit = reading.unit
        self._constant: Labels = tuple((name, value) for name, value in reading.labels if isinstance(value, str))
        self._labels = [(name, _Field(value, f"label {name}")) for name, value in reading.labels if isinstance(value, Path)]
        self._spread = None if reading.spread is None else _Field(reading.spread, "labels")

    def rows(self, value: object) -> Iterator[Row | Fault]:
        try:
            for places, keys in self._places([value], [""], 0):
                try:
                    yield self._row(places, keys)
                except _Bad as bad:
                    yield bad.fault
        except _Bad as bad:
            yield bad.fault

    def _places(self, places: list[Any], keys: list[str | int], depth: int) -> Iterator[tuple[list[Any], list[str | int]]]:
        if depth == len(self._loops):
            yield places, keys
            return
        steps, where = self._loops[depth]
        items = _find(places[-1], steps)
        for key, item in _items(items, where):
            yield from self._places([*places, item], [*keys, key], depth + 1)

    def _row(self, places: Sequence[Any], keys: Sequence[str | int]) -> Row:
        metric, time, start = self._metric, self._time, self._start
        kind = self._kind if isinstance(self._kind, str) else _word(self._kind, self._kind.of(places, keys))
        return Row(
            metric if isinstance(metric, str) else _name(metric, metric.of(places, keys)),
            kind,
            self._labels_of(places, keys),
            self._value if isinstance(self._value, float) else _number(self._value, self._value.of(places, keys)),
            None if time is None else _time(time, time.of(places, keys), self._unit),
            None if start is None or kind != COUNTER else _time(start, start.of(places, keys), self._unit),
        )

    def _labels_of(self, places: Sequence[Any], keys: Sequence[str | int]) -> Labels:
        found = [(name, _text(field, it)) for name, field in self._labels if (it := field.of(places, keys)) is not None]
        if self._spread is not None and (members := self._spread.of(places, keys)) is not None:
            if type(members) is not dict:
                raise _Bad("labels", f"{self._spread.where} are {_shown(members)}, expected an object")
            own = {name for name, _ in found} | {name for name, _ in self._constant}
            found += [(n, _text(self._spread, it)) for n, it in members.items() if it is not None and n not in own]
        return (*self._constant, *found)


def _field(given: str | float | Path, name: str) -> Any:
    return _Field(given, name) if isinstance(given, Path) else given


def _relative(loops: Sequence[tuple[Step, ...]]) -> list[tuple[tuple[Step, ...], str]]:
    """Of each list: the steps that lead to it from the item of the list around it, and how it is written."""
    found, before = [], 0
    for loop in loops:
        found.append((loop[before:-1], str(Path(loop))))
        before = len(loop)
    return found


def _find(value: Any, steps: Sequence[Step]) -> Any:
    for step in steps:
        if isinstance(step, str):
            if type(value) is not dict:
                return None
            value = value.get(step)
        else:
            if type(value) is not list or step is None or not -len(value) <= step < len(value):
                return None
            value = value[step]
    return value


def _items(items: Any, where: str) -> Iterator[tuple[str | int, Any]]:
    if type(items) is list:
        return iter(enumerate(items))
    if type(items) is dict:
        return iter(items.items())
    if items is None:
        raise _Bad("absent", f"nothing lies at {where}")
    raise _Bad("shape", f"{where} is {_shown(items)}, expected a list or an object")


def _name(field: _Field, found: Any) -> str:
    if type(found) is str:
        return found
    raise _absent(field) if found is None else _Bad("name", f"{field.where} is {_shown(found)}, expected a name")


def _word(field: _Field, found: Any) -> str:
    if found is None:
        return "gauge"
    if type(found) is str:
        return found
    raise _Bad("kind", f"{field.where} is {_shown(found)}, expected a string")


def _text(field: _Field, found: Any) -> str:
    """A label as it was written."""
    if type(found) is str:
        return found
    if type(found) is bool:
        return "true" if found else "false"
    if type(found) is int or type(found) is float:
        return str(found)
    raise _Bad("labels", f"{field.where} is {_shown(found)}, expected a text, a number or a truth")


def _number(field: _Field, found: Any) -> float:
    if type(found) is float or type(found) is int or type(found) is bool:
        number = _float(found)
    elif found is None:
        raise _absent(field)
    elif type(found) is str and _NUMBER.match(found):
        number = _float(found)
    else:
        raise _Bad("value", f"{field.where} is {_shown(found)}, expected a number")
    if math.isnan(number):
        raise _Bad("value", f"{field.where} is NaN, expected a finite number")
    if math.isinf(number):
        raise _Bad("value", f"{field.where} is infinite or too large, expected a finite number")
    return number


def _float(found: str | float) -> float:
    try:
        return float(found)
    except OverflowError:
        return math.inf


def _time(field: _Field, found: Any, unit: str) -> int | None:
    if found is None:
        return None
    if type(found) is str:
        if not _NUMBER.match(found):
            return _rfc_3339(found, field)
        found = int(found) if len(found) < MAX_DIGITS and found.lstrip("-").isdigit() else _float(found)
    if type(found) is int and abs(found) < 1 << 80:
        return found // _DIVISORS[unit] if unit in _DIVISORS else found * int(_PER_MS[unit])
    if type(found) is float and abs(found) < 1e25:
        return round(found * _PER_MS[unit])
    raise _Bad("time", f"{field.where} is {_shown(found)}, expected a number or an RFC 3339 string")


def _rfc_3339(text: str, field: _Field) -> int:
    found = rfc_3339(text, field.name)
    if isinstance(found, Fault):
        raise _Bad(*found)
    return found


def _absent(field: _Field) -> _Bad:
    return _Bad("absent", f"there is no {field.where}")


def _shown(found: Any) -> str:
    kinds: dict[type, Callable[[Any], str]] = {
        str: lambda it: f"the string {it[:MAX_TEXT]!r}", bool: lambda it: str(it).lower(), list: lambda _: "a list", dict: lambda _: "an object",
    }  # fmt: skip
    return kinds.get(type(found), str)(found)[: MAX_TEXT * 2]
