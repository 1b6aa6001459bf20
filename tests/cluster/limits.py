"""What a machine has only so much of, and a cluster needs: instances of inotify, of which every user has 128 where nobody has said more.

Short of them, kubelets and controllers fail with "too many open files" and no hint of which. So room is made for as long as there
are clusters, and the number is put back when the last one is gone.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.cluster.daemons import DaemonError

LIMIT: Final = Path("/proc/sys/fs/inotify/max_user_instances")
_CONTROL_PLANE: Final = 12  # 11 counted: 6 of the API server, 5 of the controllers
_NODE: Final = 10  # 8 counted: 6 of the kubelet, one of containerd, one of kube-proxy
_SPARE: Final = 256  # for what others begin meanwhile


def needed(nodes: int) -> int:
    return _CONTROL_PLANE + _NODE * nodes


def make_room(nodes: int, taken: int, record: Path, knob: Path = LIMIT) -> None:
    """Room for a cluster of so many nodes, where `taken` are. record: where the number that was there before is kept.

    DaemonError where there is too little, and we may not change it.
    """
    if not knob.exists():
        return
    with _alone(record):
        limit = int(knob.read_text())
        if taken + needed(nodes) <= limit:
            return
        try:
            knob.write_text(str(taken + needed(nodes) + _SPARE))
        except OSError:
            raise DaemonError(
                f"a cluster of {nodes} nodes needs {needed(nodes)} inotify instances, and {max(limit - taken, 0)} of {limit} are "
                "free: end what watches files, another cluster for instance, or raise fs.inotify.max_user_instances"
            ) from None
        if not record.exists():
            record.write_text(str(limit))


def give_back(record: Path, *, others: bool, knob: Path = LIMIT) -> None:
    """Put back what was there before the first cluster that needed more, unless there are others."""
    with _alone(record):
        if record.exists() and not others:
            knob.write_text(record.read_text())
            record.unlink()


def used() -> int:
    """How many this user has, in all processes that we may look at."""
    count = 0
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and process.stat().st_uid == os.geteuid():
                count += sum(_watches(each) for each in (process / "fd").iterdir())
    return count


def _watches(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()) == "anon_inode:inotify"
    except OSError:
        return False


@contextlib.contextmanager
def _alone(record: Path) -> Iterator[None]:
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
