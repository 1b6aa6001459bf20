"""Buffer: measurements that are not posted yet, oldest first, and how patiently to try again. Pure.

When there are too many, the oldest are dropped and counted: what a machine does now matters more than what it did while
nobody could look.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

REQUEST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """NDJSON of one moment."""

    samples: int
    body: bytes


class Buffer:
    """At most `limit` samples, except that the newest block always stays."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocks: deque[Block] = deque()
        self._taken: list[Block] = []
        self.samples = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._blocks) + len(self._taken)

    def add(self, samples: int, body: bytes) -> None:
        """Keep a block; drops the oldest ones above the limit."""
        if not samples:
            return
        self._blocks.append(Block(samples, body))
        self.samples += samples
        self._drop()

    def take(self) -> tuple[int, bytes]:
        """The oldest blocks that fit one request: how many samples, and the body. Say `posted` or `failed` before the next one."""
        size = 0
        while self._blocks and (not self._taken or size + len(self._blocks[0].body) <= REQUEST_BYTES):
            self._taken.append(self._blocks.popleft())
            size += len(self._taken[-1].body)
        return sum(block.samples for block in self._taken), b"".join(block.body for block in self._taken)

    def posted(self) -> None:
        """What was taken has arrived, or was refused for good."""
        self.samples -= sum(block.samples for block in self._taken)
        self._taken.clear()

    def failed(self) -> None:
        """What was taken has to be posted again, before anything else."""
        self._blocks.extendleft(reversed(self._taken))
        self._taken.clear()
        self._drop()

    def _drop(self) -> None:
        while self.samples > self._limit and len(self._blocks) > 1:
            oldest = self._blocks.popleft()
            self.samples -= oldest.samples
            self.dropped += oldest.samples


class Backoff:
    """Full jitter: a random time up to a bound that doubles with every failure, so that a thousand collectors do not come at once."""

    def __init__(self, first_s: float, longest_s: float, chance: Callable[[], float]) -> None:
        """chance: a number from 0 to 1."""
        self._first_s = first_s
        self._longest_s = longest_s
        self._chance = chance
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, asked_s: float = 0.0) -> float:
        """How long to wait, in seconds; asked_s: as long as the other side asked for, at least."""
        bound = min(self._first_s * float(1 << min(self._failures, 16)), self._longest_s)
        self._failures += 1
        return asked_s + bound * self._chance()


class Governor:
    """Lets something that costs CPU happen as often as wanted, but for no more than a share of a core."""

    def __init__(self, interval_s: float, share: float) -> None:
        self._interval_s = interval_s
        self._share = share
        self._next = 0.0

    def due(self, now: float) -> bool:
        return now >= self._next

    def spent(self, now: float, cost_s: float) -> None:
        """It happened at `now` and cost so much CPU."""
        self._next = now + max(self._interval_s, cost_s / self._share)
