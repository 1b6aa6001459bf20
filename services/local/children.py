"""Child processes: start them, hear what they say, end them. Whether and when is decided by `supervision`."""

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from services.local.members import Command

ROOT: Final = Path(__file__).parent.parent.parent
_LAST_WORDS: Final = 12
_LONGEST_LINE: Final = 262_144


class Process:
    """A running child. Its standard output and error are one stream of lines."""

    def __init__(self, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
        self._process = process
        self._on_line = on_line
        self._said: deque[str] = deque(maxlen=_LAST_WORDS)
        self._ended = asyncio.create_task(self._listen(process.stdout))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> tuple[str, ...]:
        return tuple(self._said)

    async def ended(self) -> int:
        """The exit code, when it has ended and all that it said has been heard; negative: the signal that ended it."""
        return await asyncio.shield(self._ended)

    async def end(self, grace_s: float) -> int:
        """SIGTERM, and SIGKILL after so many seconds."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self.ended(), grace_s)
        self._signal(signal.SIGKILL)
        return await self.ended()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _listen(self, output: asyncio.StreamReader | None) -> int:
        if output is not None:
            async for line in _lines(output):
                self._said.append(line)
                self._on_line(line)
        return await self._process.wait()


async def start(command: Command, on_line: Callable[[str], None]) -> Process:
    """Start a child in a session of its own, so that a terminal's Ctrl-C reaches only the supervisor.

    To be called in the main thread: the child's life is tied to the thread that starts it.
    """
    process = await asyncio.create_subprocess_exec(
        *command.arguments,
        cwd=ROOT,
        env=command.environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    return Process(process, on_line)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Lines as they come; one without an end is cut."""
    rest = b""
    while chunk := await stream.read(65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line.decode(errors="replace").rstrip()
        if len(rest) > _LONGEST_LINE:
            yield rest.decode(errors="replace")
            rest = b""
    if rest.strip():
        yield rest.decode(errors="replace").rstrip()
