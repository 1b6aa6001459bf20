"""The sandbox that a cluster lives in: namespaces of mounts, network, processes and host name, with no way out to any network.

This is seen from outside: starting it, entering it, ending it, and what it may not leave behind. What happens in it first is
machine.py; the daemons are started by whoever has entered it.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import machine
from tests.cluster.daemons import DaemonError, runs, spawn
from tests.cluster.plan import Node, Plan
from tools.steps import ROOT

_PATIENCE_S: Final = 120
_TIED: Final = ("setpriv", "--pdeathsig=KILL")
_GLANCE_S: Final = 0.02
_CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Process:
    """A process that stays itself: its number may be given to another, its number and start together may not."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> "Process":
        return cls(pid, _start(pid))

    @property
    def alive(self) -> bool:
        return runs(self.pid) and _start(self.pid) == self.start != 0


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox. keeper: unshare, whose end kills init; init: the first process inside, by its number outside."""

    plan: Plan
    keeper: Process
    init: Process

    @property
    def alive(self) -> bool:
        return self.init.alive

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """The command, to be run inside."""
        return entered(self.init.pid, "--mount", "--net", "--uts", "--pid") + [str(word) for word in command]


def entered(pid: int, *namespaces: str) -> list[str]:
    """What a command is preceded by to be run in the namespaces of a process."""
    return ["nsenter", f"--target={pid}", *namespaces, "--", "env", f"--chdir={ROOT}"]


def start(plan: Plan, *, tied: bool = False) -> Sandbox:
    """Start it, and wait until it is a machine. It outlives us, unless it is tied to us."""
    private = ("--mount", "--net", "--pid", "--uts", "--propagation=private")
    command = ["unshare", *private, "--fork", "--kill-child=KILL", "--mount-proc", *_first(plan, Node(1))]
    keeper = spawn([*(_TIED if tied else ()), *command], plan.logs / "sandbox.log", os.environ)
    try:
        _begun(plan, Node(1), keeper, "sandbox.log")
        sandbox = Sandbox(plan, Process.of(keeper), Process.of(_child(keeper)))
    except BaseException:
        if runs(keeper):
            os.kill(keeper, signal.SIGKILL)
        raise
    told = {"keeper": vars(sandbox.keeper), "init": vars(sandbox.init)}
    (plan.home / "sandbox.json").write_text(json.dumps(told))
    return sandbox


def found(plan: Plan) -> Sandbox | None:
    """The sandbox of a plan as an earlier process has started it; None where there is none or it has ended."""
    try:
        told = json.loads((plan.home / "sandbox.json").read_text())
    except FileNotFoundError:
        return None
    return Sandbox(plan, Process(**told["keeper"]), Process(**told["init"]))


def end(plan: Plan) -> None:
    """End every process of it, whatever of it there is, and remove what the kernel kept of it. The folder stays, with its logs."""
    box = found(plan)
    processes = (box.init, box.keeper) if box else _started(plan)
    for process in processes:
        if process.alive:
            with contextlib.suppress(ProcessLookupError):  # it ends with another one of them
                os.kill(process.pid, signal.SIGKILL)
    _until("the sandbox to end", lambda: not any(process.alive for process in processes))
    _until("its cgroups to be empty", lambda: _removed(plan))


def start_machine(plan: Plan, node: Node) -> int:
    """From inside: another machine, with mounts and a network of its own. Its process number."""
    command = ["unshare", "--mount", "--net", "--uts", "--propagation=private", *_first(plan, node)]
    pid = spawn(command, plan.logs / f"{node.name}.log", os.environ)
    _begun(plan, node, pid, f"{node.name}.log")
    return pid


def _begun(plan: Plan, node: Node, pid: int, log: str) -> None:
    """Until it is a machine; DaemonError with what it said where it cannot become one."""
    ready = plan.of(node) / machine.READY
    _until(f"{node.name} to begin", lambda: ready.exists() or not runs(pid))
    if not ready.exists():
        raise DaemonError(f"{node.name} cannot be made: {(plan.logs / log).read_text().strip()}")


def left_behind(plan: Plan) -> list[str]:
    """What is still there of a cluster that has been taken down; each a sentence."""
    left = [f"the folder {plan.home}"] if plan.home.exists() else []
    left += [f"the cgroup {path}" for path in _cgroups(plan)]
    home = str(plan.home)
    for process in _processes():
        with contextlib.suppress(OSError):
            if home in (process / "mountinfo").read_text(errors="replace"):
                left.append(f"a mount in process {process.name}")
            words = (process / "cmdline").read_bytes().split(b"\0")
            if any(home.encode() in word for word in words) and int(process.name) != os.getpid():
                left.append(f"process {process.name}: {b' '.join(words).decode(errors='replace')}")
    return left


def forget(plan: Plan) -> None:
    """Remove the folder."""
    shutil.rmtree(plan.home, ignore_errors=True)


def _started(plan: Plan) -> list[Process]:
    """Keeper and init of a sandbox that nobody has written down: who started it was killed first."""
    words = [word.encode() for word in _first(plan, Node(1))[1:]]
    found = []
    for process in _processes():
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_bytes().removesuffix(b"\0").split(b"\0")[-len(words) :] == words:
                found.append(Process.of(int(process.name)))
    return found


def _first(plan: Plan, node: Node) -> list[str]:
    return [sys.executable, "-m", "tests.cluster.machine", str(plan.home), str(node.number)]


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _start(pid: int) -> int:
    """When a process started, in the kernel's ticks; 0 where there is none, or only its shell that nobody has asked about yet."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if told[0] == "Z" else int(told[19])


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def _cgroups(plan: Plan) -> list[Path]:
    """In every hierarchy, the innermost first."""
    name = plan.cgroup().strip("/")
    tops = [path for path in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")) if path.is_dir() and not path.parent.is_symlink()]
    return [path for top in tops for path in sorted([top, *(each for each in top.rglob("*") if each.is_dir())], reverse=True)]


def _removed(plan: Plan) -> bool:
    """A cgroup can be removed when the last of its processes is gone, which takes the kernel a moment."""
    for path in _cgroups(plan):
        with contextlib.suppress(OSError):
            path.rmdir()
    return not _cgroups(plan)


def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise DaemonError(f"waited {_PATIENCE_S} s for {what}")
        time.sleep(_GLANCE_S)
