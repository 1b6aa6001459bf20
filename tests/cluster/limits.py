"""What a machine has only so much of, and a cluster needs: instances of inotify, which every user has 128 of where nobody has said more.

Short of them, kubelets and controllers fail with "too many open files" and no hint of which.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

LIMIT: Final = Path("/proc/sys/fs/inotify/max_user_instances")
_CONTROL_PLANE: Final = 12  # 11 counted: 6 of the API server, 5 of the controllers
_NODE: Final = 10  # 8 counted: 6 of the kubelet, one of containerd, one of kube-proxy


def complaint(nodes: int, used: int, limit: int) -> str:
    """Why there are too few for a cluster of so many nodes; empty where there are enough."""
    needed = _CONTROL_PLANE + _NODE * nodes
    if used + needed <= limit:
        return ""
    return (
        f"a cluster of {nodes} nodes needs {needed} inotify instances, and {max(limit - used, 0)} of {limit} are free: "
        f"end something that watches files, another cluster for instance, or raise fs.inotify.max_user_instances"
    )


def used() -> int:
    """How many this user has, in all processes that we may look at."""
    count = 0
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and process.stat().st_uid == os.geteuid():
                count += sum(_watches(each) for each in (process / "fd").iterdir())
    return count


def limit() -> int:
    return int(LIMIT.read_text()) if LIMIT.exists() else 1 << 30


def _watches(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()) == "anon_inode:inotify"
    except OSError:
        return False
