"""Partial cells: one partition's share of the cells of a selection, as they lie in Redis and in a fold's log.

Cells of one (selection, bucket) are packed by groups into pages of PAGE groups each; a page is one blob, written whole.
A fold's log entry carries the pages that a commit changed, so that a merge applies it by overwriting.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from services.contract.views import Selection

VERSION: Final = 1
SKETCH_VERSION: Final = 2
"""Of a page of sketches; all else is of VERSION."""
PAGE: Final = 32
_VERSION_BYTE: Final = bytes([VERSION])
_WIDTHS: Final = (1, 2, 4, 8)  # bytes of a count
SLACK_MS: Final = 60_000
"""How much longer than their retention cells are kept, for ingestors whose clocks or queues differ."""
COUNTERS: Final = "counters"
"""The pseudo-selection whose pages hold the last sample of every counter; its bucket is always 0."""

MOMENTS: Final = np.dtype(
    [("count", "<i8"), ("sum", "<f8"), ("min", "<f8"), ("max", "<f8"), ("last_time", "<i8"), ("last", "<f8")]
)
EDGES: Final = np.dtype([("count", "<i8"), ("first_time", "<i8"), ("first", "<f8"), ("last_time", "<i8"), ("last", "<f8")])
VARIANCE: Final = np.dtype([("count", "<i8"), ("origin", "<f8"), ("sum", "<f8"), ("squares", "<f8")])
INCREASE: Final = np.dtype([("count", "<i8"), ("sum", "<f8")])
COUNTER: Final = np.dtype([("time", "<i8"), ("value", "<f8"), ("start", "<i8"), ("other_time", "<i8"), ("other", "<f8")])
_BARE_COUNTER: Final = np.dtype([("time", "<i8"), ("value", "<f8")])
COUNTER_VERSION: Final = 2

Rows = npt.NDArray[np.void]


class PartialsError(ValueError):
    """Bytes that are not what this version reads."""


class Config(msgspec.Struct, frozen=True, dict=True):
    """What a fold computes: selections by id, and for how long it keeps each one's cells (ms)."""

    selections: dict[str, Selection]
    retentions: dict[str, int]

    @cached_property
    def digest(self) -> str:
        """The same for equal sets, however they are ordered; the compare-and-set compares it."""
        content = msgspec.json.encode([VERSION, sorted(self.retentions.items())])
        return hashlib.blake2b(content, digest_size=8).hexdigest()

    def cold_after(self) -> dict[str, int]:
        """Of the selections that are rolled up: buckets that start so many ms before the clock, or more, are not written any more, only dropped.

        A coarse bucket changes as long as a sample may still come for a bucket that it is made of in the end.
        """
        longest = max((item.every_ms for item in self.selections.values()), default=0)
        sampled = {name: item.sampled for name, item in self.selections.items() if item.finer is not None}
        return {name: self.retentions[item.id] + SLACK_MS + item.every_ms + 2 * longest for name, item in sampled.items()}


class SelectionNotes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one partition has to say of a selection beside its cells: all of it is a function of the records alone.

    late: samples that came when their bucket was no longer kept; late_at: ingest time of the newest of them, epoch ms.
    since: ingest time when the overflow group began, 0 while there is none. census: which groups are pooled in it, left_out: which
    counters are too many to be followed, so that no value contains them; both as registers of aggregator.census.
    contested: samples of counters that were passed over because another writer of the same series is followed.
    """

    late: int = 0
    late_at: int = 0
    since: int = 0
    census: bytes = b""
    left_out: bytes = b""
    contested: int = 0


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Which cells a blob holds: groups page * PAGE up to the next page, of one bucket (epoch ms of its start)."""

    selection: str
    bucket: int
    page: int

    def field(self) -> str:
        return f"{self.bucket}:{self.page}"


class NewKeys(msgspec.Struct, frozen=True, array_like=True):
    """Groups that a commit adds to a selection: their keys, numbered from `first`."""

    selection: str
    first: int
    keys: list[bytes]


class Header(msgspec.Struct, frozen=True):
    """The head of a log entry. from_, to: offsets. clock: newest ingest time folded, max_time: newest sample time, both epoch ms.

    whole: read the cells instead, unless `reset` says of which selections. notes: of selections of which they changed.
    after, stamp: names of the commit before this one, and of this one; empty where an older version wrote it.
    reset: selections whose cells and groups are others than before, or gone; the entry has what changed in all others. before: digest of the
    configuration before this commit; empty where all is to be read, and where an older version wrote it.
    sampled: see FoldState, of selections of which it changed; None where an older version wrote it.
    """

    v: int
    digest: str
    from_: int
    to: int
    clock: int
    max_time: int
    whole: bool
    keys: list[NewKeys]
    notes: dict[str, SelectionNotes] = {}
    after: str = ""
    stamp: str = ""
    reset: list[str] = []
    before: str = ""
    sampled: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit of a fold, as a merge takes it. config: of an entry that has all pages, also of what was reset; None where they are to be read."""

    header: Header
    pages: Sequence[tuple[Page, bytes]]
    config: Config | None = None


class FoldState(msgspec.Struct):
    """What a fold keeps beside its cells. sequences: instance -> (last sequence folded, its ingest time).

    marks: instance -> (sequence of its last sample folded, its ingest time), of those whose samples have sequences of their own.
    last: offset and CRC-32 of the last record folded, by which the fold knows its log again. edge: the clock when what is old was dropped last.
    late: source -> reason -> samples that came too late. notes: by selection. begun: by selection, epoch ms before which samples may
    be lacking, so that such buckets are not rolled up. sampled: by selection with samples, time of the newest one in its cells, but never later than
    that one's ingest time, epoch ms; None where an older version wrote it.
    """

    v: int = VERSION
    clock: int = 0
    max_time: int = 0
    sequences: dict[int, tuple[int, int]] = {}
    marks: dict[int, tuple[int, int]] = {}
    last: tuple[int, int] | None = None
    edge: int = 0
    late: dict[str, dict[str, int]] = {}
    notes: dict[str, SelectionNotes] = {}
    begun: dict[str, int] = {}
    sampled: dict[str, int] | None = None


@dataclass(slots=True)
class Stored:
    """A fold as it lies in Redis: pages by selection, then by (bucket, page); group keys by selection in their order."""

    config: Config
    offset: int
    state: FoldState
    pages: dict[str, dict[tuple[int, int], bytes]] = field(default_factory=dict)
    keys: dict[str, list[bytes]] = field(default_factory=dict)
    stamp: str = ""  # names the commit that stored it


def pack_page(rows: Rows) -> bytes:
    """A page of fixed rows (MOMENTS, EDGES, VARIANCE or INCREASE); shape (<= PAGE,)."""
    return pack_content(rows.tobytes())


def pack_content(rows: bytes) -> bytes:
    """The same of the bytes of rows."""
    return _VERSION_BYTE + rows


def pack_counters(rows: Rows) -> bytes:
    """A page of COUNTER, shape (<= PAGE,). As long as no start and no other value is known, as version 1 has it: time and value alone."""
    if not rows["start"].any() and not rows["other_time"].any():
        bare = np.empty(len(rows), _BARE_COUNTER)
        bare["time"], bare["value"] = rows["time"], rows["value"]
        return pack_page(bare)
    return bytes([COUNTER_VERSION]) + rows.tobytes()


def unpack_counters(blob: bytes) -> Rows:
    """Rows of COUNTER, of either version."""
    if blob[:1] == bytes([COUNTER_VERSION]):
        if (len(blob) - 1) % COUNTER.itemsize:
            raise PartialsError(f"{len(blob) - 1} bytes are no whole number of rows of {COUNTER.itemsize}")
        return np.frombuffer(blob, COUNTER, offset=1)
    bare = unpack_page(blob, _BARE_COUNTER)
    rows = np.zeros(len(bare), COUNTER)
    rows["time"], rows["value"] = bare["time"], bare["value"]
    return rows


def unpack_page(blob: bytes, dtype: np.dtype[np.void]) -> Rows:
    content = _content(blob)
    if len(content) % dtype.itemsize:
        raise PartialsError(f"{len(content)} bytes are no whole number of rows of {dtype.itemsize}")
    return np.frombuffer(content, dtype)


def pack_bins(bins: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]) -> bytes:
    """A page of sketches. bins: place of the group in the page * 2^22 + code + 2^21, ascending; counts: of samples; both of shape (n,)."""
    width = next(width for width in _WIDTHS if not len(counts) or int(counts.max()) >> 8 * width == 0)
    return bytes([SKETCH_VERSION, width]) + bins.astype("<u4").tobytes() + counts.astype(f"<u{width}").tobytes()


def unpack_bins(blob: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Bins and counts of a page of sketches, also of one of version 1."""
    if blob[:1] == bytes([VERSION]):
        return _old_bins(blob)
    if blob[:1] != bytes([SKETCH_VERSION]):
        raise PartialsError(f"page of version {blob[0] if blob else 'none'}, this reads {SKETCH_VERSION}")
    width = blob[1] if len(blob) > 1 else 0
    if width not in _WIDTHS or (len(blob) - 2) % (4 + width):
        raise PartialsError(f"{len(blob)} bytes that begin with {blob[:2]!r} are no page of sketches")
    n = (len(blob) - 2) // (4 + width)
    bins = np.frombuffer(blob, "<u4", n, 2).astype(np.int64)
    return bins, np.frombuffer(blob, f"<u{width}", n, 2 + 4 * n).astype(np.int64)


def pack_images(images: Mapping[int, bytes]) -> bytes:
    """A page of sketches in the bytes of the library that made them; keys are the places of the groups in the page."""
    return bytes([VERSION]) + msgspec.msgpack.encode(sorted(images.items()))


def unpack_images(blob: bytes) -> dict[int, bytes]:
    try:
        rows = _IMAGES.decode(_content(blob))
    except msgspec.DecodeError as error:
        raise PartialsError(str(error)) from None
    return {place: image for place, image in rows}  # noqa: C416, mypy does not know that a row is a pair


def _old_bins(blob: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A page of sketches of version 1."""
    try:
        rows = _SKETCHES.decode(_content(blob))
    except msgspec.DecodeError as error:
        raise PartialsError(str(error)) from None
    bins = sorted(((place << 22) + code + (1 << 21), count) for place, held in rows for code, count in held)
    return np.array([key for key, _ in bins], np.int64), np.array([count for _, count in bins], np.int64)


_IMAGES: Final = msgspec.msgpack.Decoder(list[tuple[int, bytes]])
_SKETCHES: Final = msgspec.msgpack.Decoder(list[tuple[int, list[tuple[int, int]]]])


def _content(blob: bytes) -> bytes:
    if not blob or blob[0] != VERSION:
        raise PartialsError(f"page of version {blob[0] if blob else 'none'}, this reads {VERSION}")
    return blob[1:]
