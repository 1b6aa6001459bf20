"""A flag that one task waits for, with an end to its patience.

An asyncio.Event below asyncio.timeout cancels its task when the time is over and catches that again, which costs several times
as much; the hub waits several times for each of its ticks.
"""

import asyncio


class Alarm:
    """Not rung at first. Belongs to one event loop and one waiting task."""

    __slots__ = ("_waiter", "rung")

    def __init__(self) -> None:
        self.rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if self.rung:
            return
        self.rung = True
        if self._waiter is not None:
            _finish(self._waiter)

    def hush(self) -> None:
        self.rung = False

    async def wait(self, seconds: float) -> bool:
        """Until it rings, but not for longer; whether it has rung."""
        if not self.rung:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            handle = loop.call_later(seconds, _finish, self._waiter)
            try:
                await self._waiter
            finally:
                handle.cancel()
                self._waiter = None
        return self.rung


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
