"""The budget of memory in Redis: whether there is room, and which coarse data goes first when there is none. Pure.

What goes is the oldest, whatever its resolution: every coarse resolution is kept for at most so long, which is halved until there is room. Buckets go
whole, so that what is left is right and what is gone is absent. The buckets that queries ask for themselves, and with them all that is live, never go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WARN: Final = 0.7
FULL: Final = 0.9
ROOM: Final = 0.5
"""Below this share of the budget coarse data is kept again for as long as its dashboard says."""
SETTLE_MS: Final = 180_000
"""How long it takes until what was let go is gone: folds drop at the edge of a minute."""
SAFE: Final = ("noeviction", "")
"""Policies under which no key goes behind our back; '' is not known. The `volatile-` ones take keys that expire, and among ours these are
needed until then: the cells of the log before this one that are still in the windows, and how far sources were read."""


@dataclass(frozen=True, slots=True)
class Memory:
    """used and budget in bytes, budget 0: none is known. policy: what the server does when it is full, '' where it does not say."""

    used: int
    budget: int
    policy: str

    @property
    def share(self) -> float:
        return self.used / self.budget if self.budget else 0.0


@dataclass(frozen=True, slots=True)
class Cap:
    """Coarse data is kept for at most so many ms, 0: for as long as dashboards say. at: epoch ms when that was decided."""

    kept_ms: int = 0
    at: int = 0


def tightest(servers: Sequence[Memory]) -> Memory:
    """Of the servers that share the data the one that counts: which drops keys, or else is the fullest."""
    return max(servers, key=lambda memory: (bool(evicts(memory)), memory.share, memory.used))


def evicts(memory: Memory) -> str:
    """What is wrong with the server's policy, or nothing."""
    if not memory.budget or memory.policy in SAFE:
        return ""
    return f"Redis drops keys when it is full (maxmemory-policy {memory.policy}), which shows as holes and wrong sums; set maxmemory-policy to noeviction"


def warning(memory: Memory) -> str:
    """What an operator should know, or nothing."""
    if memory.share < WARN:
        return ""
    said = f"Redis uses {memory.used / 2**20:,.0f} of {memory.budget / 2**20:,.0f} MiB ({memory.share:.0%})"
    if memory.share >= FULL:
        return f"{said}: the oldest coarse data is dropped; give it more memory, or keep fewer or shorter resolutions"
    return f"{said}; at {FULL:.0%} the oldest coarse data is dropped"


def next_cap(memory: Memory, held: Cap, longest_ms: int, now_ms: int) -> Cap:
    """For how long coarse data is kept from now on. longest_ms: what the dashboards ask for, at most."""
    if not memory.budget or now_ms - held.at < SETTLE_MS:
        return held
    if memory.share >= FULL and longest_ms:
        return Cap(max(1, min(held.kept_ms or longest_ms, longest_ms) // 2), now_ms)
    if memory.share < ROOM and held.kept_ms:
        return Cap(0, now_ms)
    return held
