"""The operator as a process: what the cluster has is listed and watched, kept in the registry, and told about."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from services.contract.claims import Kind
from services.operator import metrics
from services.operator.access import login, namespaces
from services.operator.cluster import Cluster, ClusterError
from services.operator.keeping import Keeper
from services.operator.known import Known
from services.operator.resources import KINDS, Body, ownership
from services.operator.settings import OperatorSettings
from services.operator.shipping import ship
from services.operator.telling import Teller
from services.operator.watching import Watching
from services.transport.feed import connect
from services.transport.settings import RedisSettings

log = structlog.get_logger()

BACKOFF_S: Final = (1.0, 15.0)
SECOND_LIST_S: Final = 2.0
"""What is deleted after the first list and before the watch has begun is seen by a second one."""


def create(settings: OperatorSettings, redis: RedisSettings) -> "Operator":
    """The service. StartupError where nothing says which API server to speak to."""
    return Operator(settings, redis)


class Operator:
    """Ready when all resources have been listed, and both the API server and the registry answer."""

    name = "operator"

    def __init__(self, settings: OperatorSettings, redis: RedisSettings) -> None:
        self._settings = settings
        self._redis_settings = redis
        self._cluster = Cluster(login)
        self._namespaces = namespaces(settings, self._cluster.namespace)
        self._known = Known(KINDS, self._namespaces)
        self._away = "nothing has been listed yet"  # why the API server does not answer

    async def start(self) -> None:
        """Nothing is waited for: what is away comes."""
        self._redis = connect(self._redis_settings)
        self._teller = Teller(self._cluster, self._known)
        watched = None if self._namespaces == ("",) else frozenset(self._namespaces)
        self._keepers: dict[Kind, Keeper] = {
            kind: Keeper(kind, self._known, self._redis, ownership(kind, watched), partial(self._teller.tell, kind=kind))
            for kind in KINDS
        }
        self._watching = Watching(login, self._namespaces, self._hear)
        log.info("resources are watched", namespaces=self._settings.namespaces or self._namespaces)

    async def run(self) -> None:
        async with self._cluster, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._teller.run())
            for keeper in self._keepers.values():
                tasks.create_task(keeper.run())
            await self._list(first=True)
            tasks.create_task(self._watching.run())
            if self._settings.shipped:
                tasks.create_task(self._ship())
            tasks.create_task(self._relist())

    async def _ship(self) -> None:
        namespace = self._cluster.namespace or "default"

        def there() -> list[str] | None:
            if not {namespace, ""} & {*self._namespaces}:
                return None
            return [found.name for found in self._known.of("Dashboard") if found.namespace == namespace]

        await ship(self._cluster, namespace, Path(self._settings.shipped), self._settings.shipped_owner, there=there)

    async def stop(self) -> None:
        """What was written is written; what was not, the next one finds."""
        await self._redis.aclose()

    def readiness(self) -> str:
        away = next((keeper.away for keeper in self._keepers.values() if keeper.away), "")
        if self._away or self._teller.fault:
            return self._away or self._teller.fault
        return f"the registry does not answer: {away}" if away else ""

    def liveness(self) -> str:
        """What it waits for comes by itself; a broken watch begins anew."""
        return ""

    def status(self) -> dict[str, object]:
        return {
            "namespaces": ["*" if name == "" else name for name in self._namespaces],
            "api_server": self._away or "answers",
            "watch": self._watching.fault or "runs",
            "kept": {kind: keeper.status() for kind, keeper in self._keepers.items()},
            "faults": self._teller.status(),
        }

    def _hear(self, kind: Kind, event: str | None, body: Body) -> None:
        if self._known.hear(kind, event, body):
            self._keepers[kind].wake()

    async def _relist(self) -> None:
        pause = SECOND_LIST_S
        while True:
            await asyncio.sleep(pause)
            await self._list()
            pause = self._settings.resync_s

    async def _list(self, *, first: bool = False) -> None:
        """Until it has worked: everything that is there, and so what is not there any more."""
        pause = BACKOFF_S[0]
        while True:
            try:
                for kind in KINDS:
                    await self._list_kind(kind, first)
            except ClusterError as error:
                metrics.LISTS.labels("failed").inc()
                self._is_away(_explained(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_S[1])
            else:
                metrics.LISTS.labels("done").inc()
                self._is_away("")
                return

    async def _list_kind(self, kind: Kind, first: bool) -> None:
        news = 0
        if self._known.deaf(kind):
            self._watching.restart()
        for namespace in self._namespaces:
            since = self._known.begin()
            bodies = await self._cluster.list(kind, namespace)
            news += self._known.listed(kind, namespace, bodies, since)
        if not first:
            metrics.LISTED.labels(kind).inc(news)
        self._keepers[kind].wake()

    def _is_away(self, why: str) -> None:
        if why and why != self._away:
            log.warning("the API server does not give what is asked for", reason=why)
        self._away = why
        metrics.API_AWAY.set(1 if why else 0)


def _explained(error: ClusterError) -> str:
    """What a person can do about it."""
    if error.code == 404:
        return f"the custom resources are not installed (deploy/k8s/base/crds): {error}"
    if error.code == 403:
        return f"the service account may not do it: {error}"
    return str(error)
