"""The target `all`: every service of one machine as child processes, with a broker and a Valkey of its own where none is named.

The shell around `supervision` (when to start whom), `composition` (what there is) and `replacement` (a broker that grew too large).
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import psutil
import structlog
from prometheus_client import REGISTRY

from services.local import children, telling
from services.local.asking import Answer, ask
from services.local.catalog import admin_port, sections, values
from services.local.composition import compose, needs, refusal
from services.local.dashboards import Folder
from services.local.embedded import broker_answers, free_port, port_taken, valkey_answers
from services.local.members import BROKER, VALKEY, Composition, Member
from services.local.metrics import REPLACEMENTS, ChildMetrics
from services.local.replacement import folded_all, recover, replace
from services.local.settings import LocalSettings
from services.local.status import child_status, not_up, unready
from services.local.supervision import Supervision, exit_reason
from services.runtime.process import StartupError
from services.runtime.settings import load
from services.transport.feed import connect
from services.transport.settings import RedisSettings

log = structlog.get_logger()

_SERVERS_END_S: Final = 0.4
# Who ends after whom, and how long each has: nobody should miss somebody who is still needed.
_ENDS: Final = (({"collector"}, 1.0), ({"ingestor", "aggregator", "gateway"}, 2.4), ({VALKEY, BROKER}, _SERVERS_END_S))
_PROBE_S: Final = 0.05  # how often somebody who is starting is asked
_LOOK_S: Final = 2.0  # how often somebody who is up is asked
_WEIGH_S: Final = 5.0
_REFUSED: Final = 2  # exit code of a process that has said in one sentence why it does not start


def create(local: LocalSettings, environ: Mapping[str, str]) -> "Local":
    known = values((cls for section in sections() for cls in section.classes), environ)
    composition = compose(local, environ, known, free_port, os.getpid())
    taken = [need for need in needs(composition, known) if port_taken(need.port, need.host)]
    if taken:
        raise StartupError(refusal(taken[0]))
    host, first = known["TIDEBOARD_ADMIN_HOST"], known["TIDEBOARD_ADMIN_PORT"]
    redis = load(RedisSettings, {**environ, "REDIS_URL": composition.redis_url})
    return Local(local, composition, redis, host, admin_port("all", first))


class Local:
    """Supervises the members of a composition. host: of all admin servers; admin: the port of the own one."""

    name = "all"

    def __init__(self, local: LocalSettings, composition: Composition, redis: RedisSettings, host: str, admin: int) -> None:
        self._local = local
        self._composition = composition
        self._host = host
        self._admin = admin
        self._supervision = Supervision(tuple(member.name for member in composition.members))
        self._processes: dict[str, children.Process] = {}
        self._reasons: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()
        self._broker = asyncio.Lock()
        self._announced = False
        self._metrics = ChildMetrics(lambda: self._supervision.children.values())
        self._folder = Folder(local.dashboards, connect(redis))

    async def start(self) -> None:
        self._failure = asyncio.get_running_loop().create_future()
        REGISTRY.register(self._metrics)
        telling.step(f"starting {', '.join(member.name for member in self._composition.members)}")
        await self._start_due()

    async def run(self) -> None:
        """Until somebody refuses to start."""
        self._keep(self._supervise())
        self._keep(self._folder.run())
        if self._composition.member(BROKER):
            self._keep(self._weigh_broker())
        if self._failure is not None:
            await self._failure

    async def stop(self) -> None:
        self._supervision.stop(time.monotonic())
        for task in self._tasks:
            task.cancel()
        for names, grace_s in _ENDS:
            ending = [process for name, process in self._processes.items() if name in names]
            await asyncio.gather(*(process.end(grace_s) for process in ending))
        await self._folder.close()
        with contextlib.suppress(KeyError):  # where it never started
            REGISTRY.unregister(self._metrics)

    def readiness(self) -> str:
        return unready(self._supervision.children.values(), self._reasons)

    def liveness(self) -> str:
        return ""

    def status(self) -> dict[str, object]:
        now = time.monotonic()
        found = [
            child_status(
                member,
                self._supervision.children[member.name],
                self._reasons.get(member.name, ""),
                self._host,
                now,
                time.time(),
            )
            for member in self._composition.members
        ]
        return {"wall": self._composition.wall, "children": found, "dashboards": self._folder.status()}

    # Starting, watching, ending.

    async def _supervise(self) -> None:
        while True:
            self._changed.clear()
            await self._start_due()
            due = self._supervision.next_due()
            wait = None if due is None else max(0.0, due - time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def _start_due(self) -> None:
        for name in self._supervision.due(time.monotonic()):
            await self._start(name)

    async def _start(self, name: str) -> None:
        member = self._member(name)
        process = await children.start(member.command, telling.hearer(name))
        self._processes[name] = process
        self._supervision.started(name, process.pid, time.monotonic())
        self._keep(self._watch(member, process))
        self._keep(self._await_end(name, process))

    async def _watch(self, member: Member, process: children.Process) -> None:
        """Ask until it does its work, and from then on whether it still does."""
        while self._processes.get(member.name) is process:
            ready, self._reasons[member.name] = await self._look(member)
            if ready and self._supervision.answered(member.name, time.monotonic()):
                self._tell_up(member.name)
            starting = self._supervision.children[member.name].state == "starting"
            if not starting and not member.admin:
                return  # a server that is up stays so until it ends
            await asyncio.sleep(_PROBE_S if starting else _LOOK_S)

    async def _look(self, member: Member) -> tuple[bool, str]:
        if member.name == VALKEY:
            return await valkey_answers(member.port), ""
        if member.name == BROKER:
            return await broker_answers(member.port), ""
        answer = await self._ask(member.name, "/readyz")
        return answer.status == 200, "" if answer.status == 200 else answer.body.strip()

    def _tell_up(self, name: str) -> None:
        child = self._supervision.children[name]
        if self._announced:
            tell = log.warning if child.failures else log.info  # one that was replaced on purpose needs nobody's eyes
            tell("is up again", service=name, pid=child.pid)
            return
        telling.step(f"  {name} is up")
        if not not_up(self._supervision.children.values()):
            self._announced = True
            pids = {child.name: child.pid for child in self._supervision.children.values()}
            telling.announce(self._composition, pids, self._host, f"http://{self._host}:{self._admin}/status")

    async def _await_end(self, name: str, process: children.Process) -> None:
        code = await process.ended()
        del self._processes[name]
        child = self._supervision.children[name]
        if child.state == "stopped" or child.pid is None:
            return
        if code == _REFUSED and not child.ever_up:
            self._give_up(process.last_words)
            return
        wait = self._supervision.exited(name, exit_reason(code), time.monotonic())
        # What services say is logged as they say it.
        said = {"last_words": process.last_words} if name in (VALKEY, BROKER) else {}
        log.error(exit_reason(code), service=name, again_in_s=round(wait, 1), **said)
        if name == BROKER:
            self._supervision.bar(BROKER)
            self._keep(self._recover_broker())
        self._changed.set()

    def _give_up(self, last_words: tuple[str, ...]) -> None:
        sentence = last_words[-1] if last_words else "a service refused to start"
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(StartupError(sentence.removeprefix("tideboard: ")))

    # The embedded broker. These are the hands of `replacement`.

    async def _weigh_broker(self) -> None:
        while True:
            await asyncio.sleep(_WEIGH_S)
            process = self._processes.get(BROKER)
            if process is None or self._broker.locked():
                continue
            with contextlib.suppress(psutil.Error):
                if psutil.Process(process.pid).memory_info().rss > self._local.broker_memory_mb * 1024 * 1024:
                    async with self._broker:
                        await replace(self)
                        REPLACEMENTS.inc()

    async def _recover_broker(self) -> None:
        async with self._broker:  # it may die again while another recovery still waits for the ingestor
            if self._supervision.children[BROKER].state != "down":
                return
            await recover(self)

    async def hold(self, seconds: float) -> bool:
        self._supervision.bar("ingestor")
        return (await self._ask("ingestor", "/hold", method="POST", seconds=seconds)).status == 200

    async def end_ingestor(self) -> None:
        if process := self._processes.get("ingestor"):
            await process.end(0.0)

    async def drained(self, seconds: float) -> bool:
        held_at = time.monotonic()
        while (now := time.monotonic()) < held_at + seconds:
            if folded_all((await self._ask("aggregator", "/status")).json(), now - held_at):
                return True
            await asyncio.sleep(_PROBE_S)
        return False

    async def stop_broker(self) -> None:
        self._supervision.bar(BROKER)
        if process := self._processes.get(BROKER):
            self._supervision.replaced(BROKER, f"grew past {self._local.broker_memory_mb} MiB", time.monotonic())
            await process.end(_SERVERS_END_S)

    async def start_broker(self) -> None:
        while self._supervision.children[BROKER].state != "up":
            if BROKER not in self._processes and self._supervision.children[BROKER].start_at <= time.monotonic():
                await self._start(BROKER)
            await asyncio.sleep(_PROBE_S)
        self._supervision.allow(BROKER)

    def allow_ingestor(self) -> None:
        self._supervision.allow("ingestor")
        self._changed.set()

    async def resume(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._supervision.children[BROKER].state == "up":
            if (await self._ask("ingestor", "/resume", method="POST", seconds=seconds)).status == 200:
                return True
            await asyncio.sleep(_PROBE_S)
        return False

    def _member(self, name: str) -> Member:
        return next(member for member in self._composition.members if member.name == name)

    async def _ask(self, name: str, path: str, *, method: str = "GET", seconds: float = 1.0) -> Answer:
        return await ask(self._host, self._member(name).admin, path, method=method, seconds=seconds)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it beside the rest; its failure is ours."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)
