"""Formats: what one record of a topic holds, as rows. Pure. A new format is one more function in FORMATS, and its name in contract.sources.

A record that cannot be taken apart is poison as a whole; where only some of its samples are wrong, each has its own fault.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from services.contract.batch import BatchError, decode
from services.contract.series import Kind, parse_series_key
from services.contract.sources import Source
from services.ingestor.samples import Fault, where
from services.ingestor.sources.extract import Extractor, Row

MAX_ROWS: Final = 1 << 20
"""Of one record: their numbers share 64 bits with the record's offset."""
_BOM: Final = b"\xef\xbb\xbf"
_FRAME: Final = 5  # a zero and the id of a schema, before what Confluent's serializers write


class PoisonError(ValueError):
    """A record in which no samples can be told apart; the message is for who looks at the dead letters."""


Rows = list[Row | Fault]
Decode = Callable[[bytes], Rows]


def decoder(source: Source) -> Decode:
    """Takes the value of a record apart. The decoder raises PoisonError."""
    decode_one = FORMATS[source.format](source)

    def checked(value: bytes) -> Rows:
        rows = decode_one(value)
        if len(rows) > MAX_ROWS:
            raise PoisonError(f"the record has {len(rows)} samples, {MAX_ROWS} at most")
        return rows

    return checked


def _json(source: Source) -> Decode:
    extractor = Extractor(source.readings)

    def rows(value: bytes) -> Rows:
        found = _parsed(_plain(value))
        if isinstance(found, Fault):
            raise PoisonError(found.reason)
        return extractor.rows(found.value)

    return rows


def _ndjson(source: Source) -> Decode:
    extractor = Extractor(source.readings)

    def rows(value: bytes) -> Rows:
        lines = [_parsed(line) for line in _plain(value).split(b"\n") if line.strip()]
        if not lines:
            raise PoisonError("the record has no lines")
        if all(isinstance(line, Fault) for line in lines):
            first = lines[0]
            raise PoisonError(f"no line is JSON; of the first: {first.reason if isinstance(first, Fault) else ''}")
        found: Rows = []
        for line in lines:
            found += [line] if isinstance(line, Fault) else extractor.rows(line.value)
        return found

    return rows


def _tideboard(_: Source) -> Decode:
    kinds = {int(kind): kind.name for kind in Kind}

    def rows(value: bytes) -> Rows:
        try:
            batch = decode(value)
            parsed = [parse_series_key(key) for key in batch.keys]
            heads = [
                (metric, kinds[kind], tuple(labels.items()))
                for (metric, labels), kind in zip(parsed, batch.kinds.tolist(), strict=True)
            ]
        except BatchError as error:
            raise PoisonError(f"is no batch: {error}") from None
        except KeyError as error:
            raise PoisonError(f"is no batch: a series has the kind {error}") from None
        except ValueError as error:
            raise PoisonError(f"is no batch: {error}") from None
        starts = [0] * len(batch.series) if batch.starts is None else batch.starts.tolist()
        columns = zip(
            map(heads.__getitem__, batch.series.tolist()), batch.values.tolist(), batch.times.tolist(), starts, strict=True
        )
        return [
            Row(metric, kind, labels, number, time, start or None) for (metric, kind, labels), number, time, start in columns
        ]

    return rows


FORMATS: Final[dict[str, Callable[[Source], Decode]]] = {"json": _json, "ndjson": _ndjson, "tideboard": _tideboard}


class _Parsed(msgspec.Struct, gc=False):
    value: Any


def _plain(value: bytes) -> bytes:
    """The text of a record, without what some serializers put before it."""
    if value[:1] == b"\0" and len(value) > _FRAME:
        value = value[_FRAME:]
    return value.removeprefix(_BOM)


def _parsed(text: bytes) -> _Parsed | Fault:
    try:
        return _Parsed(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = error
    if b"NaN" in text or b"Infinity" in text:  # many producers write them; the samples that have them are refused by their name
        try:
            return _Parsed(json.loads(text))
        except (ValueError, RecursionError):
            pass
    return Fault("json", where(text, fault))
