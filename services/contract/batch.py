"""Batch: what one record of the samples topic holds. docs/protocol.md describes it byte by byte.

Little-endian. A header, then typed blocks; each block starts on a multiple of eight bytes, so that its columns can be
read in place. A reader skips blocks it does not know when their type says that it may (bit 15), and refuses the record
otherwise: what it cannot read whole it must not count in part.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

MAGIC: Final = b"TB"
VERSION: Final = 1
MAX_TIME: Final = 1 << 42
"""Epoch ms of the year 2109: no sample is as late as that, and none is before 1970."""

_HEADER: Final = struct.Struct(
    "<2sBBIQQqII"
)  # magic, version, blocks, reserved, instance, sequence, ingest ms, series, samples
_BLOCK: Final = struct.Struct("<HHI")  # type, reserved, length of the content in bytes without padding

KINDS: Final = 1  # u8[series]
KEY_ENDS: Final = 2  # u32[series]: where each key ends in KEYS
KEYS: Final = 3  # bytes: the series keys one after the other
SERIES: Final = 4  # u32[samples]: index into the dictionary
TIMES: Final = 5  # i64[samples]: epoch ms
VALUES: Final = 6  # f64[samples]
OPTIONAL: Final = 0x8000  # set in a block's type: a reader that does not know it may pass over it
SOURCE: Final = OPTIONAL | 1  # UTF-8: where the samples came from; missing: DOOR
SEQUENCES: Final = OPTIONAL | 2  # u64[samples], growing: the place of each sample within its instance
STARTS: Final = OPTIONAL | 3  # i64[samples]: epoch ms since when a counter counts, 0 where nobody knows

DOOR: Final = "samples"
"""The source of a batch that names none: the ingestor's HTTP door."""
MAX_SOURCE_BYTES: Final = 256

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


class BatchError(ValueError):
    """A record that is not a Batch this reader knows; the message says what was wrong and at which byte."""


class Keys(Sequence[bytes]):
    """The keys of a dictionary as they lie in a record: cut apart only when somebody looks. packed: one after the other; ends: u32[series]."""

    __slots__ = ("_list", "ends", "packed")

    def __init__(self, packed: bytes, ends: U32) -> None:
        self.packed = packed
        self.ends = ends
        self._list: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        return self.list()[index]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.list())

    def __eq__(self, other: object) -> bool:
        return self.list() == other

    __hash__ = None  # type: ignore[assignment]

    def list(self) -> list[bytes]:
        if self._list is None:
            packed, bounds = self.packed, [0, *self.ends.tolist()]
            self._list = [packed[a:b] for a, b in pairwise(bounds)]
        return self._list


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples in columns with a dictionary of their series.

    instance: u64, drawn by each ingestor process at start; sequence: u64, grows by one per record within (instance, partition).
    ingest_ms: epoch ms at the ingestor. keys, kinds: the dictionary, shape (series,).
    series: u32 indexes into it, times: epoch ms, values: finite; each of shape (samples,), in the order of arrival.
    source: where the samples came from. sequences: shape (samples,), strictly growing, the last one is `sequence`; they grow from
    record to record within (instance, partition), so that a writer that cuts the same samples into other records is understood.
    starts: shape (samples,), since when a counter counts, epoch ms, 0 where nobody knows; None where nobody knows of any.
    """

    instance: int
    sequence: int
    ingest_ms: int
    keys: Sequence[bytes]
    kinds: U8
    series: U32
    times: I64
    values: F64
    source: str = DOOR
    sequences: U64 | None = None
    starts: I64 | None = None


def encode(batch: Batch) -> bytes:
    """The bytes of a batch."""
    packed, ends = _packed(batch.keys)
    blocks = [
        (KINDS, batch.kinds.astype("<u1", copy=False).tobytes()),
        (KEY_ENDS, ends.astype("<u4", copy=False).tobytes()),
        (KEYS, packed),
        (SERIES, batch.series.astype("<u4", copy=False).tobytes()),
        (TIMES, batch.times.astype("<i8", copy=False).tobytes()),
        (VALUES, batch.values.astype("<f8", copy=False).tobytes()),
    ]
    if batch.source != DOOR:
        blocks.append((SOURCE, batch.source.encode()))
    if batch.sequences is not None:
        blocks.append((SEQUENCES, batch.sequences.astype("<u8", copy=False).tobytes()))
    if batch.starts is not None:
        blocks.append((STARTS, batch.starts.astype("<i8", copy=False).tobytes()))
    counts = len(batch.keys), len(batch.series)
    parts = [_HEADER.pack(MAGIC, VERSION, len(blocks), 0, batch.instance, batch.sequence, batch.ingest_ms, *counts)]
    for kind, content in blocks:
        parts += (_BLOCK.pack(kind, 0, len(content)), content, bytes(-len(content) % 8))
    return b"".join(parts)


def _packed(keys: Sequence[bytes]) -> tuple[bytes, U32]:
    """Keys one after the other, and where each ends."""
    if isinstance(keys, Keys):
        return keys.packed, keys.ends
    return b"".join(keys), np.cumsum([len(key) for key in keys], dtype=np.uint32)


def decode(data: bytes) -> Batch:
    """The batch in these bytes; its columns are views into them. BatchError when they are not one."""
    if len(data) < _HEADER.size:
        raise BatchError(f"{len(data)} bytes are too few for the header of {_HEADER.size}")
    magic, version, count, _, instance, sequence, ingest_ms, n_series, n_samples = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BatchError(f"starts with {magic!r}, not {MAGIC!r}")
    if version != VERSION:
        raise BatchError(f"version {version} is not known, only {VERSION}")
    blocks = _blocks(data, count)
    kinds = _column(data, blocks, KINDS, "<u1", n_series)
    ends = _column(data, blocks, KEY_ENDS, "<u4", n_series)
    keys = _keys(data, blocks, ends)
    series = _column(data, blocks, SERIES, "<u4", n_samples)
    times = _column(data, blocks, TIMES, "<i8", n_samples)
    values = _column(data, blocks, VALUES, "<f8", n_samples)
    if n_samples and int(times.view(np.uint64).max()) >= MAX_TIME:  # a negative time is a large number so
        raise BatchError(f"a sample has the time {int(times.min())} or {int(times.max())}, not within 0 and {MAX_TIME}")
    if not np.isfinite(values).all():
        raise BatchError("a value is not finite")
    if n_samples and int(series.max()) >= n_series:
        raise BatchError(f"a sample names series {int(series.max())} of {n_series}")
    source = _source(data, blocks)
    sequences = _sequences(data, blocks, n_samples, sequence)
    starts = _starts(data, blocks, n_samples)
    return Batch(instance, sequence, ingest_ms, keys, kinds, series, times, values, source, sequences, starts)


def _source(data: bytes, blocks: dict[int, tuple[int, int]]) -> str:
    if SOURCE not in blocks:
        return DOOR
    offset, length = blocks[SOURCE]
    try:
        if 0 < length <= MAX_SOURCE_BYTES:
            return data[offset : offset + length].decode()
    except UnicodeDecodeError:
        pass
    raise BatchError(f"the source at byte {offset} is no name")


def _starts(data: bytes, blocks: dict[int, tuple[int, int]], n_samples: int) -> I64 | None:
    if STARTS not in blocks:
        return None
    found: I64 = _column(data, blocks, STARTS, "<i8", n_samples)
    if n_samples and not (int(found.min()) >= 0 and int(found.max()) < MAX_TIME):
        raise BatchError(f"a sample has the start {int(found.min())} or {int(found.max())}, not within 0 and {MAX_TIME}")
    return found


def _sequences(data: bytes, blocks: dict[int, tuple[int, int]], n_samples: int, last: int) -> U64 | None:
    if SEQUENCES not in blocks:
        return None
    found: U64 = _column(data, blocks, SEQUENCES, "<u8", n_samples)
    if n_samples and (int(found[-1]) != last or (found[1:] <= found[:-1]).any()):
        raise BatchError(f"sequences do not grow up to {last}, which the header says")
    return found


def _blocks(data: bytes, count: int) -> dict[int, tuple[int, int]]:
    """Where each block's content lies: type -> (offset, length)."""
    found: dict[int, tuple[int, int]] = {}
    at = _HEADER.size
    for _ in range(count):
        if at + _BLOCK.size > len(data):
            raise BatchError(f"ends at byte {len(data)} inside a block's head at {at}")
        kind, _, length = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        if at + length > len(data):
            raise BatchError(f"block {kind} at byte {at} claims {length} bytes, {len(data) - at} are left")
        if not kind & OPTIONAL and not KINDS <= kind <= VALUES:
            raise BatchError(f"block type {kind} at byte {at} is not known")
        found[kind] = at, length
        at += length + (-length % 8)
    return found


def _column(data: bytes, blocks: dict[int, tuple[int, int]], kind: int, dtype: str, n: int) -> Any:
    offset, length = _found(blocks, kind)
    if length != n * int(dtype[-1]):
        raise BatchError(f"block {kind} at byte {offset} has {length} bytes, not {n} of {dtype}")
    return np.frombuffer(data, dtype, n, offset)


def _keys(data: bytes, blocks: dict[int, tuple[int, int]], ends: U32) -> Keys:
    offset, length = _found(blocks, KEYS)
    last = int(ends[-1]) if len(ends) else 0
    if last != length or (ends[1:] < ends[:-1]).any():
        raise BatchError(f"ends of keys do not fit the {length} bytes of block {KEYS} at byte {offset}")
    return Keys(data[offset : offset + length], ends)


def _found(blocks: dict[int, tuple[int, int]], kind: int) -> tuple[int, int]:
    if kind not in blocks:
        raise BatchError(f"block {kind} is missing")
    return blocks[kind]
