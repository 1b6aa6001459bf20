"""Sweeping: views that no dashboard asks for are let go, also when nobody was there to see the dashboard go.

Whoever merges a view lets it go when it is asked for no more (`merging`); this finds what was left behind. Partial cells need none of it:
a fold that is loaded drops what it is not asked for.
"""

from collections.abc import Collection
from typing import Final

import structlog
from redis.asyncio import Redis

from services.aggregator.wanted import wanted
from services.transport import history, registry

log = structlog.get_logger()

SWEEP_S: Final = 15.0
EXPIRE_MS: Final = 30_000
"""How long a view that nobody asks for any more stays, for gateways that still show it."""


async def sweep(redis: Redis, spared: Collection[str] = ()) -> list[str]:
    """Let go of the views that are known and that the registry, as it is at this moment, does not ask for; which they are.

    spared: views that are merged, though a dashboard may ask for them no more.
    """
    known = await history.known_views(redis)
    if not known:
        return []
    asked = wanted(await registry.read_all(redis)).views
    gone = sorted(known - asked.keys() - set(spared))
    await history.expire_views(redis, gone, EXPIRE_MS)
    if gone:
        log.info("views that nobody asks for are let go", views=len(gone))
    return gone
