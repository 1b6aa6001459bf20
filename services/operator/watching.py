"""Watching: kopf's watch of our resources, in a thread with an event loop of its own.

kopf takes signals for itself and, when it ends, cancels every task of its loop that it finds; so the loop of the process is not for it.
Only raw events are asked for: handlers of kopf's that act on changes write annotations and finalizers to each resource, and a finalizer
would keep resources, and with them their namespace, from being deleted when there is no operator any more.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection
from typing import Any, Final

import kopf
import structlog
from kopf._core.engines.peering import Identity

from services.contract.claims import Kind
from services.contract.document import API_VERSION
from services.operator import metrics
from services.operator.resources import KINDS, PLURALS, Body

log = structlog.get_logger()

Hear = Callable[[Kind, str | None, Body], None]
BACKOFF_S: Final = (1.0, 30.0)
_SETTLED_S: Final = 60.0
_NAME: Final = "tideboard"
"""What kopf calls us, to nobody: we have no peers of its kind. Left to itself it asks for the user's name, and in a pod a user has none."""
_STOP_S: Final = 2.5
_CLOSING_S: Final = 0.1  # aiohttp says of connections with TLS that they are closed, and closes them a moment later


class Watching:
    """namespaces: ('',) for all. hear: called in the process's own loop, with what happened, None for what is there at the start."""

    def __init__(self, login: Callable[[], kopf.ConnectionInfo], namespaces: Collection[str], hear: Hear) -> None:
        self._login = login
        self._namespaces = [name for name in namespaces if name]
        self._hear = hear
        self.fault = ""
        self._again = asyncio.Event()

    def restart(self) -> None:
        """It tells nothing any more, though it seems to run: so it is where definitions were taken away and came back."""
        self._again.set()

    async def run(self) -> None:
        """Until cancelled. kopf gives up when the API server refuses it for a minute; then it is started anew."""
        pause = BACKOFF_S[0]
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            metrics.WATCHES.inc()
            self.fault = ""
            watch = _Watch(self._registry(loop), self._namespaces)
            try:
                self.fault = await self._ended(watch)
            finally:
                await watch.stop()
            log.warning("watching has ended, it begins anew", reason=self.fault, pause_s=pause)
            await asyncio.sleep(pause)
            pause = BACKOFF_S[0] if loop.time() - began > _SETTLED_S else min(pause * 2, BACKOFF_S[1])

    async def _ended(self, watch: "_Watch") -> str:
        """Why: by itself, or as it does not tell what a list does."""
        self._again.clear()
        asked = asyncio.create_task(self._again.wait())
        try:
            await asyncio.wait((watch.ended, asked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        return watch.ended.result() if watch.ended.done() else "a list brought what the watch did not"

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        group, version = API_VERSION.split("/")

        async def log_in(**_: Any) -> kopf.ConnectionInfo:
            return self._login()

        kopf.on.login(registry=registry)(log_in)
        for kind in KINDS:
            kopf.on.event(group, version, PLURALS[kind], registry=registry)(self._handler(kind, loop))
        return registry

    def _handler(self, kind: Kind, loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
        async def heard(event: Any, **_: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the process's loop is closed: it is ending
                loop.call_soon_threadsafe(self._hear, kind, event["type"], event["object"])

        heard.__name__ = kind.lower()
        return heard


class _Watch:
    """One run of kopf. ended: why it ended by itself."""

    def __init__(self, registry: kopf.OperatorRegistry, namespaces: Collection[str]) -> None:
        self._registry = registry
        self._namespaces = namespaces
        self._outer = asyncio.get_running_loop()
        self._inner: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.ended: asyncio.Future[str] = self._outer.create_future()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        if self._inner and self._stop:
            with contextlib.suppress(RuntimeError):
                self._inner.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, _STOP_S)

    def _run(self) -> None:
        reason = "kopf has ended"
        try:
            asyncio.run(self._operate())
        except Exception as error:
            reason = str(error) or type(error).__name__
        with contextlib.suppress(RuntimeError):
            self._outer.call_soon_threadsafe(self._tell, reason)

    def _tell(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def _operate(self) -> None:
        self._inner, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await kopf.operator(
            registry=self._registry,
            settings=_settings(),
            identity=Identity(_NAME),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
        )
        await asyncio.sleep(_CLOSING_S)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # events are ours to post, when there is something to tell
    settings.scanning.disabled = True  # no watch of definitions and namespaces, which would need a ClusterRole
    settings.networking.connect_timeout = 5.0
    settings.watching.chunk_size = 500
    settings.queueing.exit_timeout = 0.5
    return settings
