"""A view's history and its changes, as they lie in Redis and go over its channel.

Rows of one bucket are one packed blob; a message on the channel carries the cells that changed. Both start with a version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from services.contract.terms import Terms

VERSION: Final = 1
ROW: Final = np.dtype([("group", "<u4"), ("version", "<i8"), ("value", "<f8")])
"""One cell: the number of its group, the version of the view that wrote it last, its value (NaN: it has none)."""

Rows = npt.NDArray[np.void]


class HistoryError(ValueError):
    """Bytes that are not what this version reads."""


class Cells(msgspec.Struct, frozen=True, array_like=True):
    """Cells of one bucket. start: epoch ms; groups and values have the same length; None: the cell has no value."""

    start: int
    groups: list[int]
    values: list[float | None]


class NewGroup(msgspec.Struct, frozen=True, array_like=True):
    number: int
    labels: dict[str, str]


class Notes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reader of a view should know beside its values. Times in epoch ms; 0 of everything: nothing.

    at: when it was last otherwise. late: samples that came after their cells had been dropped, late_at: when the newest of them came.
    pooled: about how many groups are pooled in the overflow group, since when, and the limit of those that are shown apart.
    left_out: about how many series no value contains. contested: samples that were passed over because another writer of their counter is followed. partial: groups that are shown of which some samples may be in the overflow group.
    """

    at: int = 0
    late: int = 0
    late_at: int = 0
    pooled: int = 0
    since: int = 0
    limit: int = 0
    left_out: int = 0
    partial: int = 0
    contested: int = 0


NO_NOTES: Final = Notes()


class Change(msgspec.Struct, frozen=True):
    """One message on a view's channel: what a reader at version `prev` lacks to be at `version`.

    closed: buckets that end at or before this epoch ms are closed. A message with prev == version moves only `closed` and `notes`.
    at: epoch ms when the merge wrote it. newest: ingest time of the newest record in it, epoch ms, for the measurement of delay.
    notes: None where they are what they were. filled: see ViewHistory, 0 where it is what it was; left out by versions that do not know it.
    first: with which version the term began that this one is of; 0 where there is no new version, and of versions that keep no terms.
    sampled: time of the newest sample that the view is made of, but never later than its ingest time, epoch ms; never less than before. 0 where
    nobody knows, and of versions that do not say so.
    """

    v: int
    epoch: str
    prev: int
    version: int
    closed: int
    at: int
    newest: int
    groups: list[NewGroup]
    cells: list[Cells]
    notes: Notes | None = None
    filled: int = 0
    first: int = 0
    sampled: int = 0


@dataclass(frozen=True, slots=True)
class ViewHistory:
    """A view as it lies in Redis. rows: by bucket start; groups: labels by number. After a version: only the rows changed since.

    hot: of a coarse resolution, buckets before this epoch ms are all there, and will not change.
    filled: of the last so many ms everything was computed once that the log had; 0: it still lacks some of it, or nobody said so.
    terms: in which it was written, of this epoch. sampled: see Change, as of this version.
    """

    epoch: str
    version: int
    closed: int
    newest: int
    groups: dict[int, dict[str, str]]
    rows: dict[int, Rows]
    positions: dict[str, int]
    notes: Notes = NO_NOTES
    hot: int = 0
    filled: int = 0
    terms: Terms = ()
    sampled: int = 0


@dataclass(frozen=True, slots=True)
class ViewCommit:
    """One step of a view. held: (epoch, version) that it was built from, ('', 0) where nothing lies.

    blobs: the whole rows of each changed bucket. gone: starts of buckets that are dropped. positions: '<lineage>:<partition>' -> offset.
    hot: see ViewHistory, 0 where it is what it was. old: buckets that start then or before are dropped, too; 0: none.
    terms: those of the history from now on, None where they are what they were.
    """

    view: str
    held: tuple[str, int]
    every_ms: int
    change: Change
    blobs: Mapping[int, bytes]
    gone: Sequence[int]
    positions: Mapping[str, int]
    hot: int = 0
    old: int = 0
    terms: Terms | None = None


def pack_rows(groups: npt.NDArray[np.uint32], versions: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> bytes:
    """The blob of one bucket; all arrays of shape (n,)."""
    rows = np.empty(len(groups), ROW)
    rows["group"], rows["version"], rows["value"] = groups, versions, values
    return bytes([VERSION]) + rows.tobytes()


def unpack_rows(blob: bytes) -> Rows:
    """The rows of one bucket, dtype ROW, in the order of their groups."""
    if not blob or blob[0] != VERSION:
        raise HistoryError(f"rows of version {blob[0] if blob else 'none'}, this reads {VERSION}")
    if (len(blob) - 1) % ROW.itemsize:
        raise HistoryError(f"{len(blob) - 1} bytes are no whole number of rows")
    return np.frombuffer(blob, ROW, offset=1)


def encode_change(change: Change) -> bytes:
    return msgspec.msgpack.encode(change)


_CHANGE: Final = msgspec.msgpack.Decoder(Change)


def decode_change(data: bytes) -> Change:
    """HistoryError when the bytes are not a Change of this version."""
    try:
        change = _CHANGE.decode(data)
    except msgspec.DecodeError as error:
        raise HistoryError(str(error)) from None
    if change.v != VERSION:
        raise HistoryError(f"change of version {change.v}, this reads {VERSION}")
    return change
