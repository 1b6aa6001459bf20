"""Steps: a line for a person, the tools' own words in a log that is shown only when a step fails.

Every step knows what it was made from, so that it is done once: its stamp is a hash of that.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
LOG = CACHE / "setup.log"
_SHOWN_LINES = 40
_GLANCE_S = 0.05
_PATIENCE_S = 30


class StepError(Exception):
    """A step that failed, in one sentence. output: what its tool said."""

    def __init__(self, sentence: str, output: str = "") -> None:
        super().__init__(sentence)
        self.output = output


@dataclass(frozen=True)
class Tool:
    """A tool that is run beside others. failing: the sentence for when it fails."""

    name: str
    command: Sequence[str | Path]
    failing: str
    cwd: Path = ROOT


def run(command: Iterable[str | Path], *, failing: str, cwd: Path = ROOT, environ: Mapping[str, str] | None = None) -> str:
    """Run a tool to its end, and give what it said. StepError with the sentence `failing` when it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False, preexec_fn=_end_with_parent,
        )  # fmt: skip
    except OSError as error:
        raise StepError(f"{failing} ({words[0]}: {error.strerror})") from None
    _log(words, done.stdout)
    if done.returncode:
        raise StepError(failing, done.stdout)
    return done.stdout


def run_together(tools: Iterable[Tool], environ: Mapping[str, str], at_once: int) -> list[StepError]:
    """Run tools, a few at once, all to their end; what failed. None outlives this call, however it ends."""
    waiting, running, failed = list(tools), list[_Running](), list[StepError]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_Running(waiting.pop(0), environ))
            for each in [each for each in running if each.process.poll() is not None]:
                running.remove(each)
                failed += each.told()
            time.sleep(_GLANCE_S)
    finally:
        for each in running:
            each.process.kill()
            each.process.wait()
    return failed


class _Running:
    """A tool under way. No threads: a process is tied to the thread that started it."""

    def __init__(self, tool: Tool, environ: Mapping[str, str]) -> None:
        self._tool = tool
        self._begun = time.monotonic()
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115, told() closes it
        self.process = subprocess.Popen(
            [str(word) for word in tool.command], cwd=tool.cwd, env={**os.environ, **environ}, stdin=subprocess.DEVNULL,
            stdout=self._said, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent,
        )  # fmt: skip

    def told(self) -> list[StepError]:
        """Tell that it ended; its failure, if any."""
        with self._said:
            self._said.seek(0)
            said = self._said.read()
        _log(self._tool.command, said)
        code = self.process.returncode
        print(f"{self._tool.name} ... {'failed' if code else f'{time.monotonic() - self._begun:.0f} s'}", flush=True)
        return [StepError(self._tool.failing, said)] if code else []


def run_through(command: Iterable[str | Path]) -> int:
    """Run what talks to the person itself; its exit code. A Ctrl-C reaches it, too, and it is given the time to put things in order."""
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, preexec_fn=_end_with_parent)
    try:
        return process.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
        raise
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    start = time.monotonic()
    print(f"{text} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {time.monotonic() - start:.0f} s", flush=True)


def show(error: StepError) -> int:
    """Tell why a step failed; the exit code for it."""
    if error.output:
        print("\n".join(error.output.rstrip().splitlines()[-_SHOWN_LINES:]), file=sys.stderr)
    print(f"tideboard: {error}" + (f"; all of it is in {LOG.relative_to(ROOT)}" if error.output else ""), file=sys.stderr)
    return 1


class Stamp:
    """Remembers what something was made from."""

    def __init__(self, name: str) -> None:
        self._path = CACHE / "stamps" / name

    def holds(self, digest: str) -> bool:
        return self._path.is_file() and self._path.read_text() == digest

    def set(self, digest: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(digest)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def digest(files: Iterable[Path], *also: str) -> str:
    """A hash of files, their names, and what else matters."""
    found = hashlib.sha256(repr(also).encode())
    for path in sorted(files):
        found.update(f"\0{path.relative_to(ROOT)}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two `make` at once set up one after the other."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _log(command: Iterable[str | Path], said: str) -> None:
    CACHE.mkdir(exist_ok=True)
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(map(str, command))}\n{said}\n")


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
