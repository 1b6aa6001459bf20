"""How the embedded broker is replaced by an empty one, unseen by viewers.

The order is the point. Producing to a topic that a fresh broker does not have corrupts that topic for good (tansu 0.6.0), so nobody may
send between the broker's end and the making of the topics. The ingestor holds what it has accepted, and makes the topics when it
resumes; one that does not say that it holds is ended, because at its start it makes topics first. Whoever ends in between is
not started before the fresh broker answers: it would make its topics in the old one.
"""

from collections.abc import Mapping
from typing import Final, Protocol

HOLD_S: Final = 2.0
DRAIN_S: Final = 8.0  # while nobody watches, the aggregator looks every two seconds
RESUME_S: Final = 10.0


class Hands(Protocol):
    """Who does it. What has a limit takes no longer than `seconds` and says whether it came true."""

    async def hold(self, seconds: float) -> bool:
        """The ingestor has stopped sending, and keeps what it has. From now on none is started."""

    async def end_ingestor(self) -> None: ...

    async def drained(self, seconds: float) -> bool:
        """The aggregator has folded everything that the log holds."""

    async def stop_broker(self) -> None: ...

    async def start_broker(self) -> None:
        """A fresh one answers on the same port."""

    def allow_ingestor(self) -> None:
        """From now on an ingestor that has ended is started again."""

    async def resume(self, seconds: float) -> bool:
        """The ingestor has made the topics and sends again."""


def folded_all(aggregator: Mapping[str, object], held_s: float) -> bool:
    """Whether an aggregator with this status has stored all that the log holds. held_s: for how long nobody has written to it.

    A lag of 0 says that only of the log as it was when the aggregator last asked for its end, which must be after the hold.
    """
    looked_s_ago = aggregator.get("looked_s_ago")
    return aggregator.get("lag") == 0 and isinstance(looked_s_ago, float) and looked_s_ago < held_s


async def replace(hands: Hands) -> None:
    """Replace a broker that is in order. What has been accepted before and not been folded in time is lost with it."""
    held = await _hold(hands)
    if held:
        await hands.drained(DRAIN_S)
    await hands.stop_broker()
    await _start(hands, held)


async def recover(hands: Hands) -> None:
    """Start a broker in the place of one that has died."""
    await _start(hands, await _hold(hands))


async def _hold(hands: Hands) -> bool:
    if await hands.hold(HOLD_S):
        return True
    await hands.end_ingestor()
    return False


async def _start(hands: Hands, held: bool) -> None:
    await hands.start_broker()
    hands.allow_ingestor()
    if held and not await hands.resume(RESUME_S):
        await hands.end_ingestor()
