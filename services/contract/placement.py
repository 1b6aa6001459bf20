"""Placement: among how many partitions of our own topic the samples of a source's partition are spread, from which of its records on.

A fold knows the samples that it has, but not those of another partition. So all who read a partition of a source must place a record alike, however
often it is read, also after partitions were added: where the number changes is agreed on, once, and kept. `services.ingestor.sources.placing` says
how that is done without asking before every write.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import msgspec

VERSION = 1
MAX_SPANS = 32
"""Older ones are forgotten: nobody reads as far back again."""


class PlacementError(ValueError):
    """What lies there is no placement that this version of the software knows."""


class Placement(msgspec.Struct, frozen=True):
    """spans: (first offset, number of partitions), offsets grow, the first one is 0. reserved: below this offset records may have been placed by
    the last span, so the next one begins there or later."""

    spans: tuple[tuple[int, int], ...]
    reserved: int = 0
    v: int = VERSION

    @property
    def count(self) -> int:
        """By how many partitions new records are placed."""
        return self.spans[-1][1]

    @property
    def since(self) -> int:
        return self.spans[-1][0]

    def reserve(self, below: int) -> "Placement":
        """Records up to this offset are about to be written."""
        return self if below <= self.reserved else msgspec.structs.replace(self, reserved=below)

    def turn(self, offset: int, count: int) -> "Placement":
        """From this offset on, or from where nothing is reserved, there are so many partitions."""
        begin = max(offset, self.reserved, self.since)
        kept = [span for span in self.spans if span[0] < begin]
        spans = (*kept, (begin, count))[-MAX_SPANS:]
        return Placement(((0, spans[0][1]), *spans[1:]), self.reserved)

    def newer(self, other: "Placement") -> "Placement":
        """This one, or another that was agreed on later; where they contradict each other, as after Redis forgot, this one."""
        chosen = other if other.since > self.since else self
        return chosen.reserve(max(self.reserved, other.reserved))

    def parts(self, offsets: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Growing offsets by how they are placed: (count, start, stop) of each run."""
        firsts = [first for first, _ in self.spans]
        start = 0
        while start < len(offsets):
            at = bisect_right(firsts, offsets[start])
            stop = len(offsets) if at == len(firsts) else _below(offsets, firsts[at])
            yield self.spans[at - 1][1], start, stop
            start = stop


def begun(count: int) -> Placement:
    """Of a partition of which nothing was written yet."""
    return Placement(((0, count),))


def encode(placement: Placement) -> bytes:
    return msgspec.json.encode(placement)


def decode(blob: bytes) -> Placement:
    """PlacementError."""
    try:
        found = msgspec.json.decode(blob, type=Placement)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlacementError(str(error)) from None
    firsts = [first for first, _ in found.spans]
    if found.v != VERSION or firsts[:1] != [0] or firsts != sorted(set(firsts)) or min(n for _, n in found.spans) < 1:
        raise PlacementError(f"version {found.v}, {found.spans}")
    return found


def _below(offsets: Sequence[int], first: int) -> int:
    return bisect_right(offsets, first - 1)
