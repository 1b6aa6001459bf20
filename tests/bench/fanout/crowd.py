"""The viewers: a C program that reads, counts and keeps nothing, built by the system's compiler, driven over a pipe; Python where there is no compiler."""

import contextlib
import functools
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.fanout.cores import VIEWERS, pinned
from tests.servers import ROOT

PATIENCE_S: Final = 90.0
_HERE: Final = Path(__file__).parent


@functools.cache
def compiler() -> str | None:
    """The system's C compiler, None where there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@functools.cache
def built(name: str) -> Path:
    """The program of NAME.c, made once for each version of it."""
    cc = compiler()
    assert cc, "there is no C compiler here"
    source = _HERE / f"{name}.c"
    program = ROOT / ".cache" / "bench" / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([cc, "-O2", "-o", str(program), str(source)], check=True)
    return program


@dataclass(frozen=True, slots=True)
class Told:
    """What the viewers have counted. at: monotonic seconds. The others: by whole milliseconds.

    since_now: from the time that a message names to its arrival. since_commit: from the commit of its first view. until_live: from
    the connection to the first snapshot, or the first frame where nothing is asked for.
    """

    at: float
    open: int
    live: int
    closed: int
    refused: int
    frames: int
    bytes: int
    since_now: Mapping[str, int]
    since_commit: Mapping[str, int]
    until_live: Mapping[str, int]


class Crowd:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def tell(self) -> Told:
        assert self._process.stdout is not None
        self.say("tell")
        return Told(**json.loads(self._process.stdout.readline()))

    def open(self, count: int, per_second: float = 0) -> None:
        """So many viewers more, whose handshakes begin so fast; 0: as fast as they are taken."""
        self.say(f"open {count} {per_second}")

    def wait(self, count: int, *, live: bool) -> Told:
        """Until so many are there, or have seen something."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            told = self.tell()
            if (told.live if live else told.open) >= count:
                return told
            time.sleep(0.02)
        raise RuntimeError(f"not all of {count} viewers came: {told.open} open, {told.live} live, {told.refused} refused")


@contextlib.contextmanager
def crowd(port: int, path: str = "/", subprotocol: str = "", say: str = "", *, deflated: bool = False) -> Iterator[Crowd]:
    """Nobody at first; all leave at the end of the block."""
    viewers = [str(built("viewers"))] if compiler() else [sys.executable, "-m", "tests.bench.fanout.viewers"]
    command = [*viewers, str(port), path, subprotocol, str(int(deflated)), say]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: pinned(VIEWERS)
    )
    with process:
        try:
            yield Crowd(process)
        finally:
            process.kill()


def quantile(delays: Mapping[str, int], q: float) -> int:
    """Milliseconds at a rank; -1 of none."""
    rank, at = q * (sum(delays.values()) - 1), -1
    for ms, count in sorted((int(ms), count) for ms, count in delays.items()):
        at = ms
        rank -= count
        if rank < 0:
            break
    return at
