"""What is read of a view, and when."""

import asyncio

import pytest
from redis.asyncio import Redis

from services.contract.history import ViewHistory
from services.gateway import views as views_module
from services.gateway.views import Views
from services.transport.feed import connect
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.test_stage import NOWHERE


class Feed:
    """Answers when it is let. asked: after which versions it was read."""

    def __init__(self) -> None:
        self.merge = Merge()
        self.asked: list[int] = []
        self.open = asyncio.Event()

    async def read(self, _redis: Redis, _view: str, after: int) -> ViewHistory:
        self.asked.append(after)
        await self.open.wait()
        return self.merge.history(after)


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    found = Feed()
    monkeypatch.setattr(views_module, "read_view", found.read)
    return found


async def test_a_longer_window_that_is_asked_for_while_a_gap_is_read_is_read_whole(feed: Feed) -> None:
    views = Views(connect(NOWHERE), lambda: 0, lambda _: None)
    held = views.open("v", 1_000, 60_000)
    feed.merge.write({(0, 0): 1.0})
    feed.open.set()
    views.subscribed(next(iter(views._channels)))
    assert held.reading
    await held.reading
    feed.open.clear()
    views.seek("v")
    await asyncio.sleep(0)
    views.open("v", 1_000, 600_000)
    await asyncio.sleep(0)
    assert views._held["v"].ready is False, "what lies in the longer window is still to come"
    feed.open.set()
    await held.reading
    assert feed.asked == [-1, feed.merge.version, -1]
    assert held.ready
