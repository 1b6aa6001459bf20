"""How much memory viewers take: what the process has beyond what it had without any. The figure is the process's, not an account.

What viewers share is in it too: states of what is watched, and frames. So it says what a viewer costs only where there are many. Memory that
Python keeps when viewers have gone counts for those who come next, as the least that there ever was without viewers is what is compared with.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import psutil

from services.gateway import metrics

EVERY_S: Final = 1.0


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(psutil.Process().memory_info().rss)


class Memory:
    """viewers: how many there are now. bytes_: resident memory of the process now."""

    def __init__(self, viewers: Callable[[], int], bytes_: Callable[[], int] = resident) -> None:
        self._viewers = viewers
        self._bytes = bytes_
        self._least = bytes_()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        """Measure it now."""
        viewers, held = self._viewers(), self._bytes()
        if not viewers:
            self._least = min(self._least, held)
        metrics.VIEWER_BYTES.set(max(0, held - self._least) / viewers if viewers else 0)
