"""Processes of pods as an administrator of the sandbox sees them, whichever node they are on: all nodes share one tree of processes.

For what a pod would not do for a test by itself, such as connecting to somebody or being killed; its image needs nothing for it.
"""

import ctypes
import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tests.cluster.api import Object

T = TypeVar("T")
Address = tuple[str, int]
_PATIENCE_S: Final = 3.0
_CLONE_NEWNET: Final = 0x40000000  # of <sched.h>; os.setns begins with Python 3.12
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def any_process(pod: Object) -> int:
    """One that is in the pod's network."""
    return _running(f"pod{pod['metadata']['uid']}")[0]


def main_process(pod: Object, container: str = "") -> int:
    """The first process of a container, by default of the pod's first one; its number in the sandbox."""
    states = pod["status"]["containerStatuses"]
    name = container or pod["spec"]["containers"][0]["name"]
    number = next(each["containerID"] for each in states if each["name"] == name).rpartition("/")[2]
    return next(pid for pid in _running(number) if _numbers(pid)[-1] == 1)


def used(pod: Object) -> str:
    """What the first process of its first container has taken since it began: seconds of CPU, of how many, and its most memory."""
    process = Path(f"/proc/{main_process(pod)}")
    numbers = (process / "stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    cpu_s, begun_s = (int(numbers[11]) + int(numbers[12])) / tick, int(numbers[19]) / tick
    [most] = [line.split()[1] for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM")]
    return (
        f"{cpu_s:.1f} s of CPU in {time.clock_gettime(time.CLOCK_BOOTTIME) - begun_s:.0f} s, {int(most) / 1024:.0f} MiB at most"
    )


def connects(process: int, addresses: Sequence[Address]) -> list[bool]:
    """To which of these IPv4 addresses the network of a process can open a TCP connection."""
    return within(process, lambda: _connects(addresses))


def resolves(process: int, name: str) -> str:
    """The address of a name, as it is asked from the network of a process; nothing where it is not known."""

    def asked() -> str:
        try:
            return socket.gethostbyname(name)
        except OSError:
            return ""

    return within(process, asked)


def within(process: int, do: Callable[[], T]) -> T:
    """Do something in the network of a process: only a thread enters it, which ends with that."""

    def entered() -> T:
        with Path(f"/proc/{process}/ns/net").open("rb") as network:
            if _LIBC.setns(network.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return do()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(entered).result()


def _connects(addresses: Sequence[Address]) -> list[bool]:
    """All at once: who drops what it blocks lets a caller wait."""
    opened = [False] * len(addresses)
    with selectors.DefaultSelector() as selector:
        for place, address in enumerate(addresses):
            tried = socket.socket()
            tried.setblocking(False)
            if tried.connect_ex(address) in (0, errno.EINPROGRESS):  # an error that is told here is not told again
                selector.register(tried, selectors.EVENT_WRITE, place)
            else:
                tried.close()
        deadline = time.monotonic() + _PATIENCE_S
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(_PATIENCE_S / 10):
                opened[key.data] = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0  # type: ignore[union-attr]
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return opened


def _running(cgroup: str) -> list[int]:
    """Processes that are in a cgroup of this name, or below one."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if cgroup in (process / "cgroup").read_text():
                    found.append(int(process.name))
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
    if not found:
        raise ProcessLookupError(f"no process is in {cgroup}")
    return sorted(found)


def _numbers(process: int) -> list[int]:
    """What a process is called in each of the process namespaces that it is in, ours first, its own last."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return [0]
    return next([int(word) for word in line.split()[1:]] for line in lines if line.startswith("NSpid:"))
