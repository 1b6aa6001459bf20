"""A hall full of viewers in front of an installation that changes: 300 of them hold a dashboard and audit every frame, and producers number what they post.

What happens to the installation is the test's affair (test_rollouts.py); what must be true of it, whatever happens, is here.
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from services.check.minting import mint
from services.contract.views import View
from services.transport.settings import RedisSettings
from tests.audience.audit import audit, holes
from tests.audience.connection import Audience
from tests.audience.truth import Truth, recording
from tests.audience.viewer import Cells, Viewer
from tests.cluster import numbered, turnover
from tests.cluster.numbered import Producer, miscounted
from tests.cluster.operating import document
from tests.cluster.release import Release, admitting
from tests.cluster.turnover import Turnover
from tests.pipeline import world
from tests.pipeline.world import entry, views

VIEWERS: Final = 300
PATIENCE_S: Final = 180.0
DASHBOARD: Final = "hall"
WINDOW: Final = "10m"
_FIRST: Final = {"nodeSelector": {"kubernetes.io/hostname": "node1"}}
VALUES: Final[dict[str, Any]] = {
    "ingestor": admitting("ingestor", 8081)["ingestor"],
    "gateway": {"autoscaling": {"mode": "none"}, "replicaCount": 2},
    "kafka": _FIRST,
    "redis": admitting("redis", 6379)["redis"] | _FIRST,
    "crds": {"enabled": False},
    "shippedDashboards": {"enabled": False},
    "tests": {"enabled": False},
}
"""Kafka and Redis have one pod and a volume of one node, so that they stay where the other node may go."""
_AT_ONCE: Final = 20
_HOUR_S: Final = 3600


@dataclass
class Hall:
    """numbers: the view that shows the numbered samples; begun_ms: since when there are any; snapshots: how many viewers were given before it began."""

    release: Release
    truth: Truth
    audience: Audience
    views: dict[str, View]
    numbers: str
    pods: Turnover
    producers: list[Producer]
    begun_ms: int
    wrong: list[str] = field(default_factory=list)
    audits: int = 0
    snapshots: int = 0

    async def do(self, *words: str) -> None:
        """kubectl, with these words."""
        await asyncio.to_thread(self.release.cluster.kubectl, "-n", self.release.namespace, *words)

    async def left(self) -> None:
        """Wait until nobody is on the way out any more."""
        await until(lambda: "" if not self.pods.leaving else f"{self.pods.leaving} are still there")

    async def ready(self, component: str, count: int) -> None:
        """Wait until a component has so many pods, all Ready and none on its way out."""
        await until(lambda: "" if self.pods.settled(component, count) else f"{component} is not {count} pods: {self.pods.pods}")

    async def less(self, component: str, before: int) -> None:
        """Wait until more pods of a component are gone than before."""
        await until(lambda: "" if self.pods.gone(component) > before else f"no {component} is gone: {self.pods.pods}")

    async def seated(self) -> None:
        """Wait until everybody has a connection and is shown something."""
        await self.audience.until(lambda seat: seat.live and bool(seat.viewer.views), PATIENCE_S, "see nothing")

    async def heard(self) -> None:
        """Wait until everybody is shown what is new now."""
        since = time.monotonic()
        await self.audience.until(lambda seat: seat.live and seat.heard_at > since, PATIENCE_S, "hear nothing")

    async def audit_on(self) -> None:
        """Once a second, until something is wrong."""
        while not self.wrong:
            self.wrong += await self.faults()
            self.audits += 1
            await asyncio.sleep(1)

    async def faults(self) -> list[str]:
        """What is wrong with the audience as it is now; a few at a time, so that nobody has to wait for the audit."""
        found: list[str] = []
        seats = self.audience.seats
        for first in range(0, len(seats), _AT_ONCE):
            viewers = [seat.viewer for seat in seats[first : first + _AT_ONCE] if seat.viewer.views]
            await until(partial(self._unheard, viewers))
            found += audit(viewers, self.truth.at, first)
            await asyncio.sleep(0)
        for view in self.views:
            self.truth.forget(view, min((seat.viewer.versions.get(view, 0) for seat in seats), default=0))
        return found

    async def settled(self) -> None:
        """Once nothing is produced any more: wait until everybody has the newest of everything, and that stays so."""
        newest, deadline = dict[str, int](), time.monotonic() + PATIENCE_S
        while newest != (newest := {view: self.truth.newest(view) for view in self.views}) or self._behind(newest):
            assert time.monotonic() < deadline, f"{self._behind(newest)} viewers do not come to the newest versions"
            await asyncio.sleep(2)

    async def judged(self) -> None:
        """The end of a scene: everything has come to rest, everybody is right, and every sample was counted."""
        for producer in self.producers:
            producer.end()
        await asyncio.to_thread(_join, self.producers)
        await self.settled()
        assert (self.wrong or await self.faults()) == []
        assert self.audits > 1 or self.truth.away
        self._count()
        for view in self.views:
            cells = {at: value for at, value in self._newest(view).items() if at[0] >= self.begun_ms}
            assert holes(view, cells, self.views[view].every_ms) == []

    def _count(self) -> None:
        by_name: dict[str, dict[int, float]] = {producer.name: {} for producer in self.producers}
        for (start, group), value in self._newest(self.numbers).items():
            by_name[self.truth.labels(self.numbers, group)["producer"]][start] = value
        for producer in self.producers:
            assert miscounted(producer.attempts, by_name[producer.name]) == []

    def _newest(self, view: str) -> Cells:
        return self.truth.at[view][self.truth.newest(view)]

    def _behind(self, newest: dict[str, int]) -> int:
        return sum(seat.viewer.versions != newest for seat in self.audience.seats)

    def _unheard(self, viewers: list[Viewer]) -> str:
        ahead = [view for viewer in viewers for view, version in viewer.versions.items() if self.truth.newest(view) < version]
        return f"the truth has not heard of views {set(ahead)}" if ahead else ""


@contextlib.asynccontextmanager
async def hall(
    release: Release, *, viewers: int = VIEWERS, patience_s: float = float("inf"), throughout: bool = True
) -> AsyncIterator[Hall]:
    """Everybody is there and has seen the first samples; at the end everything is judged.

    patience_s: for how long viewers bear silence. throughout: whether viewers are compared with the history all the time, which needs Redis to be
    there all the time, or at the end only.
    """
    await asyncio.to_thread(_apply, release)
    held = views(entry(DASHBOARD, numbered.PANELS, WINDOW))
    secret = await asyncio.to_thread(_secret, release)
    producers = [
        Producer(name, await asyncio.to_thread(release.address, "ingestor"), 8081, keeps=name == "keeps")
        for name in ("anew", "keeps")
    ]
    redis = RedisSettings(f"redis://{await asyncio.to_thread(release.address, 'redis')}:6379/0")
    gateways = await asyncio.to_thread(release.address, "gateway")
    async with turnover.watching(release) as pods, recording(redis, held) as truth:
        audience = Audience(8080, DASHBOARD, 2, gateways, lambda number: _token(secret, number), patience_s)
        found = Hall(release, truth, audience, held, _numbers(held), pods, producers, _next_second_ms())
        tasks = [asyncio.create_task(_look(audience))]
        try:
            for producer in producers:
                producer.start()
            await audience.come(viewers, 100)
            await found.seated()
            if throughout:
                tasks.append(asyncio.create_task(found.audit_on()))
            pods.begin()
            found.snapshots = audience.snapshots
            yield found
            await found.seated()
            await found.judged()
        finally:
            for task in tasks:
                task.cancel()
            for producer in producers:
                producer.end()
            audience.leave()
            await asyncio.to_thread(_join, producers)


async def until(check: Callable[[], str]) -> None:
    """Wait until nothing is wrong."""
    await world.until(check, PATIENCE_S)


def _apply(release: Release) -> None:
    spec = {"window": WINDOW, "resolutions": [], "panels": numbered.PANELS}
    release.cluster.kubectl("apply", "-n", release.namespace, "-f", "-", stdin=document(DASHBOARD, spec))


def _secret(release: Release) -> bytes:
    path = f"/api/v1/namespaces/{release.namespace}/secrets/{release.full('gateway-tokens')}"
    return base64.b64decode(release.cluster.api.get(path)["data"]["secret"])


def _token(secret: bytes, viewer: int) -> str:
    """Each viewer is somebody else: one subject may have so many connections and no more."""
    return mint(secret, f"viewer-{viewer}", [DASHBOARD], (time.time(), time.time() + _HOUR_S))


def _numbers(held: dict[str, View]) -> str:
    return next(name for name, view in held.items() if view.inputs[0].selection.metric == numbered.NUMBERED)


def _next_second_ms() -> int:
    return (time.time_ns() // 1_000_000_000 + 1) * 1000


async def _look(audience: Audience) -> None:
    """Viewers notice that they hear nothing."""
    while True:
        for seat in audience.seats:
            seat.look()
        await asyncio.sleep(0.5)


def _join(producers: list[Producer]) -> None:
    for producer in producers:
        if producer.ident:
            producer.join(PATIENCE_S)
            assert not producer.is_alive(), f"{producer.name} is still trying: {producer.refused}"
