"""The watermark: until when buckets are closed. Pure.

Each partition's watermark is its newest sample less the disorder that is allowed for; the view's is the least of them. A partition that is
caught up and quiet does not hold the others back: quiet alone would not do, since one that lags is quiet too.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition is. max_time: its newest sample, epoch ms, 0 for none; moved_at: when that last changed, by the merge's clock."""

    max_time: int
    moved_at: int
    caught_up: bool


def closed_until(partitions: Iterable[Progress], now_ms: int, disorder_ms: int, idle_ms: int) -> int:
    """Buckets that end at or before this epoch ms are closed."""
    found = list(partitions)
    if any(not item.max_time and not item.caught_up for item in found):
        return -disorder_ms  # what lies in it nobody knows yet
    active = [item.max_time for item in found if item.max_time and not (item.caught_up and now_ms - item.moved_at > idle_ms)]
    newest = min(active) if active else now_ms - idle_ms
    return min(newest, now_ms) - disorder_ms
