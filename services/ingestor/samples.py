"""Samples: the JSON of a request as rows, one per sample. What names, labels and times may be is judged in `columns`.

The common case is decoded in one call. Only when something in a body is wrong it is gone through item by item, so that one
bad sample does not harm the others and each is told what is wrong with it.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

MAX_TEXT: Final = 60  # of a value that is shown in a reason

_BYTE: Final = re.compile(r"\(byte (\d+)\)$")
_MALFORMED: Final = "JSON is malformed: "
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NO_LABELS: Final = msgspec.Raw(b"{}")


class Fault(NamedTuple):
    """Why a sample is refused. code: for counting; reason: a sentence for who sent it."""

    code: str
    reason: str


class Sample(msgspec.Struct, gc=False):
    """A sample as it was sent. labels: the JSON of an object, not looked into yet. start: since when a counter counts."""

    metric: str
    value: float
    labels: msgspec.Raw = NO_LABELS
    time: int | float | str | None = None
    kind: str = "gauge"
    start: int | float | str | None = None


class BodyError(ValueError):
    """A body in which no samples can be told apart; the message says where it is broken."""


@dataclass(slots=True)
class Rows:
    """What was sent, in its order. faults: by index; the sample there means nothing."""

    samples: list[Sample]
    faults: dict[int, Fault] = field(default_factory=dict)


_BAD: Final = Sample("", 0.0)
_ONE: Final = msgspec.json.Decoder(Sample)
_MANY: Final = msgspec.json.Decoder(list[Sample])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def decode_json(body: bytes) -> Rows:
    """The samples of an object, a list of objects, or of lines that each hold one. BodyError when it is none of them."""
    body = body.lstrip(b" \t\r\n")
    if not body:
        raise BodyError("the body is empty")
    if body.startswith(b"{"):
        return _object_or_lines(body)
    try:
        return Rows(_MANY.decode(body))
    except _BROKEN as error:
        fault = error
    try:
        return _each(_ITEMS.decode(body), _decode)
    except msgspec.ValidationError:
        raise BodyError("the body is neither an object, nor a list of objects, nor lines of them") from None
    except _BROKEN:
        return _each(_lenient_list(body, fault), _read)


def decode_lines(body: bytes) -> Rows:
    """The samples of NDJSON. A line that is broken is that line's fault."""
    try:
        return Rows(_ONE.decode_lines(body))
    except _BROKEN:
        return _each([line for line in body.split(b"\n") if line.strip()], _decode)


def _object_or_lines(body: bytes) -> Rows:
    """Lines of objects look like one object at first."""
    try:
        return Rows([_ONE.decode(body)])
    except _BROKEN:
        following = [line for line in body.split(b"\n")[1:] if line.strip()]
    if following and all(line.lstrip().startswith(b"{") for line in following):
        return decode_lines(body)
    rows = _each([body], _decode)
    if rows.faults and rows.faults[0].code == "json":
        raise BodyError(rows.faults[0].reason)
    return rows


def _each(items: Iterable[Any], decode: Callable[[Any], Sample | Fault]) -> Rows:
    rows = Rows([])
    for index, item in enumerate(items):
        found = decode(item)
        if isinstance(found, Fault):
            rows.faults[index] = found
            found = _BAD
        rows.samples.append(found)
    return rows


def _decode(item: bytes | msgspec.Raw) -> Sample | Fault:
    try:
        return _ONE.decode(item)
    except _BROKEN as error:
        text = bytes(item)
        try:
            found = _read(_lenient(text))
        except ValueError:
            return Fault("json", where(text, error))
        # What only Python's reader accepts (a NaN in a field of no interest) is still no JSON.
        return found if isinstance(found, Fault) else Fault("json", where(text, error))


def _lenient(text: bytes) -> Any:
    """Python's own reader takes NaN and Infinity, so that they can be refused by their name. ValueError where it fails, too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError from None


def _lenient_list(body: bytes, error: Exception) -> list[Any]:
    if b"NaN" in body or b"Infinity" in body:
        try:
            found = _lenient(body)
            if isinstance(found, list):
                return found
        except ValueError:
            pass
    raise BodyError(where(body, error))


def _read(item: object) -> Sample | Fault:
    """A decoded object as a Sample, or what is wrong with it."""
    if not isinstance(item, dict):
        return Fault("shape", f"is {_kind(item)}, expected an object")
    for name in ("metric", "value"):
        if name not in item:
            return Fault("shape", f"{name} is missing")
    metric, value, labels, kind = (item.get(name) for name in ("metric", "value", "labels", "kind"))
    if not isinstance(metric, str):
        return Fault("name", f"metric is {_kind(metric)}, expected a string")
    number = _number(value)
    if isinstance(number, Fault):
        return number
    time, start = (item.get(name) for name in ("time", "start"))
    for name, moment in (("time", time), ("start", start)):
        if isinstance(moment, bool) or not isinstance(moment, int | float | str | None):
            return Fault("time", f"{name} is {_kind(moment)}, expected epoch milliseconds or an RFC 3339 string")
    if "kind" in item and not isinstance(kind, str):
        return Fault("kind", f"kind is {_kind(kind)}, expected a string")
    try:
        raw = msgspec.Raw(msgspec.json.encode(labels)) if "labels" in item else NO_LABELS  # judged later, as all labels are
    except UnicodeEncodeError:
        return Fault("labels", "labels are not Unicode text")
    return Sample(metric, number, raw, time, item.get("kind", "gauge"), start)


def _number(value: object) -> float | Fault:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Fault("value", f"value is {_kind(value)}, expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isnan(number):
        return Fault("value", "value is NaN, expected a finite number")
    if math.isinf(number):
        return Fault("value", "value is infinite or too large, expected a finite number")
    return number


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the string {json.dumps(value[:MAX_TEXT], ensure_ascii=False)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def where(text: bytes, error: Exception) -> str:
    """A sentence about broken JSON, with the place as a byte and as line and column."""
    if isinstance(error, RecursionError):
        return f"{_MALFORMED}nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"{_MALFORMED}not UTF-8"
    message = str(error).removeprefix(_MALFORMED)
    at = int(found[1]) if (found := _BYTE.search(message)) else len(text)
    before = text[:at]
    line, column = before.count(b"\n") + 1, at - before.rfind(b"\n")
    return f"{_MALFORMED}{_BYTE.sub('', message).strip()} at byte {at} (line {line}, column {column})"
