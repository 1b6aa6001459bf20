"""Telling: what was decided of each resource, as its status and as an event. What has to be written is `statuses`' to say.

The registry does not wait for it: when the API server is slow, viewers see a new dashboard all the same.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog

from services.contract.claims import Kind
from services.operator import metrics
from services.operator.cluster import ClusterError
from services.operator.deciding import Reason, Verdict
from services.operator.known import Known
from services.operator.resources import Body, Key, Resource
from services.operator.statuses import Event, changes, event

log = structlog.get_logger()

BACKOFF_S: Final = (0.5, 30.0)
AT_ONCE: Final = 8
_GONE: Final = (404, 409, 422)  # the object is not there any more, or is another one: what is there now has its own turn


class Objects(Protocol):
    """Where statuses and events are written. ClusterError where that fails. The real one is `cluster.Cluster`."""

    async def patch_status(self, resource: Resource, patch: Mapping[str, Any]) -> Body: ...

    async def post_event(self, resource: Resource, event: Event) -> None: ...


class Teller:
    """Writes statuses and events until all is told; what fails is tried again."""

    def __init__(self, cluster: Objects, known: Known, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.fault = ""
        self._cluster = cluster
        self._known = known
        self._clock = clock
        self._verdicts: dict[Key, Verdict] = {}
        self._due: set[Key] = set()
        self._wake = asyncio.Event()

    def tell(self, verdicts: Iterable[Verdict], kind: Kind) -> None:
        """Of all resources of a kind of which something is to be said."""
        found = {verdict.resource.key: verdict for verdict in verdicts}
        there = {resource.key for resource in self._known.of(kind)}
        self._verdicts = {key: verdict for key, verdict in self._verdicts.items() if key[0] != kind or key in there} | found
        self._due |= found.keys()
        counted = Counter((key[0], verdict.reason) for key, verdict in self._verdicts.items())
        for reason in Reason:
            metrics.RESOURCES.labels(kind, reason).set(counted[kind, reason])
        self._wake.set()

    def status(self) -> list[dict[str, object]]:
        """What is wrong, for a person."""
        return [
            {"kind": kind, "namespace": namespace, "name": name, "reason": str(verdict.reason), "message": verdict.message}
            for (kind, namespace, name), verdict in sorted(self._verdicts.items())
            if not verdict.ready
        ]

    async def run(self) -> None:
        pause = BACKOFF_S[0]
        slots = asyncio.Semaphore(AT_ONCE)
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, set()
            results = await asyncio.gather(*(self._say(key, slots) for key in sorted(due)))
            self.fault = next((why for why in results if why), "")
            if self.fault:
                self._due |= {key for key, why in zip(sorted(due), results, strict=True) if why}
                self._wake.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_S[1])
            else:
                pause = BACKOFF_S[0]

    async def _say(self, key: Key, slots: asyncio.Semaphore) -> str:
        """Why it could not be said; '' when it has been, or need not be."""
        async with slots:
            verdict, resource = self._verdicts.get(key), self._known.get(key)
            if verdict is None or resource is None or resource.uid != verdict.resource.uid:
                return ""
            if resource.generation == verdict.resource.generation:  # but its status may have changed since
                verdict = Verdict(resource, verdict.reason, verdict.message, verdict.panels, verdict.memory)
            try:
                return await self._write(verdict)
            except ClusterError as error:
                metrics.STATUSES.labels(key[0], "failed").inc()
                if error.code in _GONE:
                    return ""
                log.warning("a status could not be written", kind=key[0], namespace=key[1], name=key[2], reason=str(error))
                return str(error)

    async def _write(self, verdict: Verdict) -> str:
        patch = changes(verdict, self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"))
        if patch is None:
            return ""
        resource, told = verdict.resource, event(verdict)
        body = await self._cluster.patch_status(resource, patch)
        self._known.written(resource.kind, body)
        metrics.STATUSES.labels(resource.kind, "written").inc()
        where = {"kind": resource.kind, "namespace": resource.namespace, "name": resource.name}
        tell = log.info if verdict.ready else log.warning
        tell("a resource was looked at", **where, reason=str(verdict.reason), message=verdict.message)
        if told is not None:
            await self._post(verdict)
        return ""

    async def _post(self, verdict: Verdict) -> None:
        """An event is a courtesy: one that is not taken is not posted again."""
        told = event(verdict)
        if told is None:
            return
        try:
            await self._cluster.post_event(verdict.resource, told)
            metrics.EVENTS.labels(verdict.resource.kind, told.reason).inc()
        except ClusterError as error:
            log.warning("an event could not be posted", reason=str(error))
