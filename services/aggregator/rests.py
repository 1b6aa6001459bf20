"""Rests: the time between two commits, in which the loop of live views only waits. Work in the background is done there, in portions.

Whoever has such work asks before each portion, and does it without awaiting anything. While a commit is due or under way it waits, but not for
ever: where there are no rests it goes on slowly.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

PORTION_S: Final = 0.003
"""How long a portion should take: so much later a commit may begin."""
PATIENCE_S: Final = 0.2
PAUSE: Final = 1.0
"""How long a pause follows a portion, in times of what it took: broker, feed and viewers' gateways want processors, too."""
ROUNDS: Final = 6
"""Turns of the event loop between two portions: as many as it takes from bytes that arrive to whoever waits for what they say."""


class Rests:
    """clock: seconds; spent: seconds of the processor, which a machine that is busy with other things does not make longer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, spent: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._spent = spent
        self._until = 0.0
        self._begun = asyncio.Event()

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
        patience = self._clock() + PATIENCE_S
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        while self._until - self._clock() < seconds and (left := patience - self._clock()) > 0:
            if self._begun.is_set():  # too little is left of this one
                self._begun.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._begun.wait()

    @contextlib.asynccontextmanager
    async def working(self, seconds: float = PORTION_S) -> AsyncIterator[None]:
        """The block does a portion that takes so long about, when it holds nobody up; a pause follows it."""
        await self.portion(seconds)
        began = self._spent()
        yield
        await asyncio.sleep(PAUSE * (self._spent() - began))

    async def do(self, steps: Iterator[None]) -> None:
        """Each step is a portion."""
        done = object()
        while True:
            async with self.working():
                if next(steps, done) is done:
                    return


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
