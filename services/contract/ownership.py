"""Who folds which partition, merges which view, reads which partition of a source: rendezvous hashing over the members that are alive.

Ownership is about liveness alone. Two owners at once do no harm: of two folds the compare-and-set lets one pass, and what two bridges
write is folded once.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache


def owner(what: int | str, members: Iterable[str]) -> str | None:
    """The member with the highest hash for this partition or name; None without members. Others keep theirs when one comes or goes."""
    return max(members, key=lambda member: (_score(member, what), member), default=None)


@lru_cache(maxsize=4)  # asked at every turn, and the answer seldom changes
def owned(instance: str, partitions: int, members: frozenset[str]) -> frozenset[int]:
    """The partitions of one member."""
    return frozenset(partition for partition in range(partitions) if owner(partition, members) == instance)


def merger(view: str, partitions: int) -> int:
    """The partition whose owner merges a view."""
    return int(view, 16) % partitions


def _score(member: str, what: int | str) -> bytes:
    return hashlib.blake2b(f"{what}:{member}".encode(), digest_size=8).digest()
