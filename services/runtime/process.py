"""Running one service as a process: admin server, signals, three awaits, an end within five seconds of a signal, or of having left."""

import asyncio
import faulthandler
import os
import resource
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Final

import structlog
import uvloop

from services.runtime.admin import AdminServer, AdminSettings
from services.runtime.service import Leaves, Service, StartupError, refuse

__all__ = ["Service", "StartupError", "main"]

log = structlog.get_logger()

STOP_S: Final = 4.0  # for Service.stop
END_S: Final = 4.8  # after a signal the process is gone by then, whatever hangs
MAX_FILES: Final = 1_048_576  # what the kernel allows at most by default (fs.nr_open)
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(service: Service, admin: AdminSettings) -> int:
    """Run a service until a signal or its own end; the exit code: 0 stopped, 1 failed, 2 could not start."""
    _allow_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(service, admin))


def _allow_files() -> None:
    """As many open files as may be: where the soft limit is 1,024, the next viewer after about 1,000 could not connect."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if most == resource.RLIM_INFINITY else min(most, MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _live(service: Service, settings: AdminSettings) -> int:
    stopping = _Stopping(asyncio.get_running_loop())
    server = AdminServer(service, settings)
    code = 0
    try:
        await server.start()
        if await _unless(stopping, service.start()):
            server.started = True
            log.info("started", service=service.name, admin=server.address)
            await _unless(stopping, service.run(), service if isinstance(service, Leaves) else None)
    except StartupError as error:
        code = refuse(error)
    except Exception:
        log.exception("failed", service=service.name)
        code = 1
    stopping.begin()
    try:
        await asyncio.wait_for(service.stop(), STOP_S)
    except Exception:
        log.exception("did not stop in order", service=service.name)
        code = code or 1
    await server.stop()
    return code


async def _unless(stopping: "_Stopping", part: Coroutine[Any, Any, None], leaving: Leaves | None = None) -> bool:
    """Run a part of a life; False where a signal ended it. leaving: who may ask for time when the signal comes."""
    task = asyncio.create_task(part)
    signalled = asyncio.create_task(stopping.event.wait())
    try:
        await asyncio.wait((task, signalled), return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and leaving and not stopping.now.is_set() and (patience_s := leaving.leave()):
            await stopping.wait(task, patience_s)
        if stopping.event.is_set():
            stopping.begin()
        if task.done():
            task.result()
            return not stopping.event.is_set()
        task.cancel()
        await asyncio.wait((task,), timeout=STOP_S / 4)
        return False
    finally:
        signalled.cancel()


class _Stopping:
    """The first signal asks for an orderly end and sets a limit to it; another one then ends the process at once.

    SIGTERM gives a service time to leave, and once more means the same. SIGINT and SIGHUP come from a person, who does not
    want to wait: they cut that short.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.event = asyncio.Event()
        self.now = asyncio.Event()
        self._loop = loop
        self._limited = False
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as nohup has it
        for number in _SIGNALS:
            if number != signal.SIGHUP or not ignored:
                loop.add_signal_handler(number, self._hear, number)

    def _hear(self, number: signal.Signals) -> None:
        if number != signal.SIGTERM:
            self.now.set()
        if not self.event.is_set():
            self.event.set()
            self._limit(END_S)

    async def wait(self, task: asyncio.Task[None], seconds: float) -> None:
        """Let a task end by itself, which may take so many seconds."""
        self._limit(seconds + STOP_S + END_S)
        cut_short = asyncio.create_task(self.now.wait())
        await asyncio.wait((task, cut_short), timeout=seconds + STOP_S, return_when=asyncio.FIRST_COMPLETED)
        cut_short.cancel()
        self._limit(END_S)

    def begin(self) -> None:
        """From here on any signal ends it, and there is a limit."""
        for number in _SIGNALS:
            if self._loop.remove_signal_handler(number):
                signal.signal(number, _end_at_once)
        if not self._limited:
            self._limit(END_S)

    def _limit(self, seconds: float) -> None:
        """Also for what runs after the loop: a thread of the C library ends the process."""
        self._limited = True
        faulthandler.dump_traceback_later(seconds, exit=True)


def _end_at_once(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
