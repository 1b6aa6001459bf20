"""The first process of every machine of the sandbox: it makes the machine out of the namespaces it was started in, and then waits.

The sandbox's own (node1, the one with a process namespace) also reaps what is orphaned in it. Ending it ends everything in it.
Nothing of the host is changed: what would be written is covered first, by mounts that only these namespaces see.

    python -m tests.cluster.machine HOME NUMBER    # by sandbox.py, in fresh namespaces
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.cluster import plan as plans
from tests.cluster.plan import Node, Plan

READY: Final = "ready"
_COVERED: Final = ("/etc", "/var/lib", "/var/log")
_OWN: Final = {"kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd", "pod-logs": "/var/log/pods"}
# A cgroup weighs as much as one process outside: all pods of a cluster would get the share of one beside whatever else the machine does.
_WEIGHTS: Final = {"cpu.shares": "10240", "cpu.weight": "1000"}  # ten times the default, in cgroup v1 and v2
# The kubelet sets these for the whole kernel where they have other values; so it reads from us that they have the right ones.
TUNABLES: Final[Mapping[str, str]] = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def main(home: str, number: str) -> None:
    plan, node = plans.read((Path(home) / "plan.json").read_text()), Node(int(number))
    _mounts(plan, node)
    _network(plan, node)
    _run("hostname", node.name)
    cgroups(plan, node)
    (plan.of(node) / READY).touch()
    _wait()


def _mounts(plan: Plan, node: Node) -> None:
    """Everything private, before anything is shared: afterwards an unmount would be seen by the others, too."""
    for path in (*_COVERED, "/run"):
        if node.number > 1:
            _run("umount", "--lazy", path)  # node1's
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run")
    _own_sysfs()
    for path in _COVERED:
        above, work = (Path("/run/cover") / part / path[1:].replace("/", "-") for part in ("above", "work"))
        for folder in (above, work):
            folder.mkdir(parents=True)
        _run("mount", "-t", "overlay", "-o", f"lowerdir={path},upperdir={above},workdir={work}", "overlay", path)
    for name, path in _OWN.items():
        own = plan.of(node) / name
        own.mkdir(parents=True, exist_ok=True)
        Path(path).mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", str(own), path)
    _etc(plan.of(node))
    if node.number == 1:
        _cover_tunables()
    _run("mount", "--make-rshared", "/")  # for the kubelet's mounts and the containers' network namespaces


def _own_sysfs() -> None:
    """A sysfs that shows this network namespace, with the cgroups where they were."""
    kept = Path("/run/kept")
    kept.mkdir()
    _run("mount", "--rbind", "/sys/fs/cgroup", str(kept))
    _run("umount", "--lazy", "--recursive", "/sys")
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("mount", "--rbind", str(kept), "/sys/fs/cgroup")
    _run("umount", "--lazy", "--recursive", str(kept))


def _etc(files: Path) -> None:
    etc = Path("/etc")
    networks = etc / "cni" / "net.d"
    networks.mkdir(parents=True, exist_ok=True)
    for other in networks.iterdir():  # of the host's own container engine
        other.unlink()
    for source, target in {
        "cni/10-pods.conflist": networks / "10-pods.conflist",
        "hosts": etc / "hosts",
        "resolv.conf": etc / "resolv.conf",
    }.items():
        target.unlink(missing_ok=True)  # it may be a link to somewhere else
        target.write_bytes((files / source).read_bytes())


def _cover_tunables() -> None:
    covers = Path("/run/tunables")
    for name, value in TUNABLES.items():
        cover, real = covers / name, Path("/proc/sys") / name
        if real.exists():
            cover.parent.mkdir(parents=True, exist_ok=True)
            cover.write_text(value + "\n")
            _run("mount", "--bind", str(cover), str(real))


def _network(plan: Plan, node: Node) -> None:
    """A wire between the machines and a default route to nobody: a route is looked up before a service's address is translated."""
    _run("ip", "link", "set", "lo", "up")
    port = "br0" if node.number == 1 else "eth0"
    if node.number == 1:
        # An address of its own: one that follows its ports changes with them, and every change forgets the neighbours.
        _run("ip", "link", "add", "br0", "address", f"02:00:00:00:00:{node.number:02x}", "type", "bridge")
        _run("ip", "link", "add", "carrier0", "type", "veth", "peer", "name", "carrier1")
        _run("ip", "link", "set", "carrier0", "master", "br0", "up")
        _run("ip", "link", "set", "carrier1", "up")
    else:
        _run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", node.name, "netns", "1")
        _run("nsenter", "--target=1", "--net", "ip", "link", "set", node.name, "master", "br0", "up")
    _run("ip", "address", "add", f"{node.address}/24", "dev", port)
    _run("ip", "link", "set", port, "up")
    _run("ip", "neighbour", "add", plans.NOWHERE, "lladdr", plans.NOBODY, "dev", port, "nud", "permanent")
    _run("ip", "route", "add", "default", "via", plans.NOWHERE)
    for other in plan.nodes:
        if other != node:
            _run("ip", "route", "add", other.pods, "via", other.address)
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        with contextlib.suppress(FileNotFoundError):  # without bridges' own filter nothing needs to be said to it
            (Path("/proc/sys") / name).write_text("1")


def cgroups(plan: Plan, node: Node) -> None:
    """The kubelet's root in every hierarchy; a cpuset is empty when it is made, and nothing runs in an empty one."""
    top = Path("/sys/fs/cgroup")
    versions = (
        [top]
        if (top / "cgroup.controllers").exists()
        else [each for each in top.iterdir() if each.is_dir() and not each.is_symlink()]
    )
    for hierarchy in versions:
        folder = hierarchy
        for part in plan.cgroup(node).strip("/").split("/"):
            outer, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if hierarchy.name == "cpuset":
                    (folder / name).write_text((outer / name).read_text())
            for name, weight in _WEIGHTS.items():
                if (folder / name).exists():
                    (folder / name).write_text(weight)


def _wait() -> None:
    """Until killed, reaping what is orphaned here."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        signal.sigwait({signal.SIGCHLD})


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
