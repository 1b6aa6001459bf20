"""Who folds which partition, merges which view, reads which partition of a source: balanced rendezvous hashing over the members alive.

Plain rendezvous hashing may give one of two members everything (4 partitions: one time in eight). Here every member gets as many as
any other, or one more, and each partition goes to the member with the highest hash that has room. Few others move when one comes or
goes.

Ownership is about liveness alone. Two owners at once do no harm: of two folds the compare-and-set lets one pass, and what two bridges
write is folded once.
"""

import hashlib
from functools import lru_cache


def owned(instance: str, partitions: int, members: frozenset[str], topic: str = "") -> frozenset[int]:
    """The partitions of one member: of our own log, or of a source's topic. A source has its name as topic, so that the single
    partitions of many sources are spread."""
    return _shares(partitions, members, topic).get(instance, frozenset())


def merger(view: str, partitions: int) -> int:
    """The partition whose owner merges a view."""
    return int(view, 16) % partitions


@lru_cache(maxsize=64)  # asked at every turn, once for each source, and the answer seldom changes
def _shares(partitions: int, members: frozenset[str], topic: str) -> dict[str, frozenset[int]]:
    if not members:
        return {}
    least, one_more = divmod(partitions, len(members))
    found: dict[str, set[int]] = {member: set() for member in members}
    free = set(range(partitions))
    for _, partition, member in sorted(((_score(topic, p, m), p, m) for p in free for m in members), reverse=True):
        held = found[member]
        room = len(held) < least or (len(held) == least and one_more > 0)
        if partition not in free or not room:
            continue
        one_more -= len(held) == least
        held.add(partition)
        free.discard(partition)
    return {member: frozenset(held) for member, held in found.items()}


def _score(topic: str, partition: int, member: str) -> bytes:
    return hashlib.blake2b(f"{topic}/{partition}:{member}".encode(), digest_size=8).digest()
