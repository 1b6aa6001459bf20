"""Who folds which partition and merges which view: rendezvous hashing over the aggregators that are alive. Pure.

Ownership is about liveness alone. Two owners at once do no harm: the compare-and-set lets one of them pass.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache


def owner(partition: int, members: Iterable[str]) -> str | None:
    """The member with the highest hash for this partition; None without members. Others keep theirs when one comes or goes."""
    return max(members, key=lambda member: (_score(member, partition), member), default=None)


@lru_cache(maxsize=4)  # asked at every turn, and the answer seldom changes
def owned(instance: str, partitions: int, members: frozenset[str]) -> frozenset[int]:
    """The partitions of one member."""
    return frozenset(partition for partition in range(partitions) if owner(partition, members) == instance)


def merger(view: str, partitions: int) -> int:
    """The partition whose owner merges a view."""
    return int(view, 16) % partitions


def _score(member: str, partition: int) -> bytes:
    return hashlib.blake2b(f"{partition}:{member}".encode(), digest_size=8).digest()
