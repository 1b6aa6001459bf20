"""Rests: the time between two commits, in which the loop of live views only waits. Work in the background is done there, in portions.

Whoever has such work asks before each portion, and does it without awaiting anything. While a commit is due or under way it waits, but not for
ever: where there are no rests it goes on slowly, but for a fair share of the time.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

PORTION_S: Final = 0.003
"""How long a portion should take: so much later a commit may begin."""
PATIENCE_S: Final = 0.2
LEAST_PATIENCE_S: Final = 2 * PORTION_S
"""Where there are no rests, patience is halved with each portion, down to this: with its pauses a quarter of the time goes to the work, without a third, or it might never end."""
PAUSE: Final = 1.0
"""How long a pause follows a portion, in times of what it took: broker, feed and viewers' gateways want processors, too."""
HEADWAY_S: Final = 5.0
GAIN: Final = 0.25
"""Of what work in the background is behind, it has to gain this much in HEADWAY_S to be allowed its pauses: somebody waits for what it makes."""
ROUNDS: Final = 6
"""Turns of the event loop between two portions: as many as it takes from bytes that arrive to whoever waits for what they say."""


class Rests:
    """clock: seconds; spent: seconds of the processor, which a machine that is busy with other things does not make longer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, spent: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._spent = spent
        self._until = 0.0
        self._begun = asyncio.Event()
        self._patience = PATIENCE_S

    @contextlib.contextmanager
    def until(self, due: float) -> Iterator[None]:
        """From here to the end of the block the loop waits, until this time at most."""
        self._until = due
        self._begun.set()
        try:
            yield
        finally:
            self._until = 0.0
            self._begun.clear()

    async def portion(self, seconds: float = PORTION_S) -> None:
        """Wait until a portion that takes so long holds nobody up."""
        patience = self._clock() + self._patience
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        while not (rests := self._until - self._clock() >= seconds) and (left := patience - self._clock()) > 0:
            if self._begun.is_set():  # too little is left of this one
                self._begun.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._begun.wait()
        self._patience = PATIENCE_S if rests else max(LEAST_PATIENCE_S, self._patience / 2)

    @contextlib.asynccontextmanager
    async def working(self, pause: float = PAUSE) -> AsyncIterator[None]:
        """The block does a portion, when it holds nobody up; a pause follows it, so many times as long."""
        await self.portion()
        began = self._spent()
        yield
        await asyncio.sleep(pause * (self._spent() - began))

    async def do(self, steps: Iterator[None]) -> None:
        """Each step is a portion."""
        done = object()
        while True:
            async with self.working():
                if next(steps, done) is done:
                    return


class Headway:
    """Whether work gains on what it has to reach, and how long it may pause. clock: seconds.

    With pauses it has half of what is left beside live views. Where that is less than what keeps coming, it would fall behind for ever: it
    pauses no more once it has been seen to gain too little.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._look_at = clock() + HEADWAY_S
        self._behind: int | None = None
        self._pause = PAUSE

    def pause(self, behind: int) -> float:
        """In times of what a portion took. behind: how far it is from what it has to reach, now."""
        if self._behind is None:
            self._behind = behind
        if self._clock() >= self._look_at:
            if behind > self._behind * (1 - GAIN):
                self._pause = 0.0
            self._behind, self._look_at = behind, self._clock() + HEADWAY_S
        return self._pause


class Portions:
    """How much of some work is a portion, as its cost lately was. least, most: of what it is measured in."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self._rate = least / PORTION_S  # per second

    @property
    def size(self) -> int:
        return max(self._least, min(self._most, int(self._rate * PORTION_S)))

    def took(self, size: int, seconds: float) -> None:
        """So much of it took so long."""
        self._rate = (self._rate + size / max(seconds, 1e-6)) / 2
