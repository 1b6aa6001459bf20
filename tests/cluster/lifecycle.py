"""A cluster's life: written, started from outside, brought up from inside, taken down. Each step says how long it took."""

import contextlib
import datetime as dt
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.cluster import certificates, controlplane, files, images, limits, node, objects, sandbox
from tests.cluster import plan as plans
from tests.cluster.api import Api, until
from tests.cluster.cluster import VARIABLE
from tests.cluster.daemons import DaemonError, Daemons
from tests.cluster.plan import Plan
from tools import clients, kubernetes
from tools.steps import CACHE, ROOT

_PROGRAMS: Final = (
    "unshare",
    "nsenter",
    "setpriv",
    "ip",
    "mount",
    "containerd",
    "ctr",
    "runc",
    "iptables",
    "iptables-restore",
    "ipset",
)
_CLIENTS: Final = ("kubectl", "helm3", "helm4")


def home_of(name: str) -> Path:
    return clients.cache() / "clusters" / name


def _room() -> Path:
    return clients.cache() / "clusters" / "inotify"


def plan_of(name: str) -> Plan:
    path = home_of(name) / "plan.json"
    if not path.exists():
        raise DaemonError(f"there is no cluster {name}")
    return plans.read(path.read_text())


def found(name: str) -> sandbox.Sandbox:
    box = sandbox.found(plan_of(name))
    if box is None or not box.alive:
        raise DaemonError(f"the cluster {name} does not run")
    return box


def write(plan: Plan, programs: Mapping[str, Path]) -> None:
    """Everything that is written before anything starts."""
    for folder in (plan.programs, plan.logs):
        folder.mkdir()
    for program, path in programs.items():
        (plan.programs / program).symlink_to(path)
    _write(plan.home, certificates.make(plan, dt.datetime.now(dt.UTC)))
    for each in plan.machines:
        told = files.of_node(plan, each, node.plugins() if plan.nodes else "")
        _write(plan.of(each), {path: text.encode() for path, text in told.items()})
    (plan.home / "plan.json").write_text(plan.written())


def up(name: str, count: int, *, tied: bool = False) -> sandbox.Sandbox:
    """From outside: start it all, and wait until pods run. What it has begun ends when this fails. tied: it ends with us, too."""
    refuse_where_it_cannot_be()
    begun = time.monotonic()
    programs = {**kubernetes.programs(), **{each: clients.client(each) for each in _CLIENTS}}
    plan = Plan(name, home_of(name), count)
    with _claimed(plan.home):
        try:
            write(plan, programs)
            limits.make_room(count, limits.used(), _room())
            box = sandbox.start(plan, tied=tied)
            _say("sandbox", begun)
            _inside(box, "bring-up")
        except BaseException:
            down(plan, keep_logs=True)
            raise
    _say(f"cluster {name}, {count} nodes", begun)
    return box


def refuse_where_it_cannot_be() -> None:
    """DaemonError with one sentence where this machine or this user cannot have a sandbox."""
    if sys.platform != "linux":
        raise DaemonError("the test cluster needs Linux: its nodes are namespaces of its kernel")
    if os.geteuid() != 0:
        raise DaemonError("the test cluster needs root, for namespaces, mounts and cgroups: sudo make test-cluster")
    missing = [program for program in _PROGRAMS if not shutil.which(program)]
    if missing:
        raise DaemonError(f"the test cluster needs {', '.join(missing)}: make test-cluster installs what is missing")


def bring_up(plan: Plan) -> None:
    """From inside: the control plane and the nodes' engines side by side, then the nodes."""
    begun, daemons = time.monotonic(), Daemons(plan)
    nodes = node.machines(plan, daemons)
    with ThreadPoolExecutor(1 + len(nodes)) as pool:
        archives = images.small(plan.programs, plan.home / "images") if nodes else []
        engines = [pool.submit(_begin, machine, archives) for machine in nodes]
        api = controlplane.start(plan, daemons)
        _say("API server", begun)
        for engine in engines:
            engine.result()
        _say("container engines and images", begun)
    if nodes:
        api.apply(objects.dns())  # its pods are there when the nodes are
        for machine in nodes:
            machine.join(api)
        for machine in nodes:
            machine.wait(api)
        _say("nodes", begun)
        until("DNS on every node", lambda: _dns_ready(api, len(nodes)))
        _say("DNS", begun)
    controlplane.wait(api, daemons)


def down(plan: Plan, *, keep_logs: bool = False) -> None:
    """Take a cluster down, whatever of it there is."""
    sandbox.end(plan)
    if keep_logs:
        kept = _keep(plan)
        print(f"its logs are in {kept.relative_to(ROOT)}", file=sys.stderr)
    sandbox.forget(plan)
    limits.give_back(_room(), others=any(path.is_dir() for path in plan.home.parent.iterdir()))


def environ(plan: Plan) -> dict[str, str]:
    """What a person or a test inside finds: the clients in PATH, and which cluster they speak to."""
    path = f"{plan.programs}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "KUBECONFIG": str(plan.kubeconfig), VARIABLE: str(plan.home)}


def running() -> list[sandbox.Sandbox]:
    """Every cluster of this user."""
    return [box for box in _boxes() if box.alive]


def sweep() -> None:
    """Take down what is left of clusters whose sandbox has ended without it, or who started them before there was one."""
    for box in _boxes():
        if not box.alive:
            down(box.plan)
    for home in _unfinished():
        down(Plan(home.name, home, 0))


def _boxes() -> list[sandbox.Sandbox]:
    folder = clients.cache() / "clusters"
    written = sorted(folder.glob("*/sandbox.json")) if folder.is_dir() else []
    boxes = []
    for path in written:
        with contextlib.suppress(FileNotFoundError):  # another takes it down just now
            boxes.append(sandbox.found(plans.read((path.parent / "plan.json").read_text())))
    return [box for box in boxes if box]


def _unfinished() -> list[Path]:
    """Folders that nobody fills any more and that name no sandbox. The lock comes first: who had it may have finished just now."""
    folder = clients.cache() / "clusters"
    homes = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return [home for home in homes if _unclaimed(home) and not (home / "sandbox.json").exists()]


@contextlib.contextmanager
def _claimed(home: Path) -> Iterator[None]:
    """A new folder, locked while it is filled: whoever is killed meanwhile loses the lock. DaemonError where the name is taken."""
    try:
        home.mkdir(parents=True)
    except FileExistsError:
        raise DaemonError(f"there is a cluster {home.name} already: take it down, or give this one another --name") from None
    with _opened(home) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _unclaimed(home: Path) -> bool:
    """One that is empty was made this very moment, and its lock comes next."""
    try:
        with _opened(home) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return any(home.iterdir())
    except (BlockingIOError, FileNotFoundError):
        return False


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _begin(machine: node.Machine, archives: Sequence[Path]) -> None:
    machine.begin()
    machine.load(archives)


def _inside(box: sandbox.Sandbox, verb: str) -> None:
    done = subprocess.run(box.inside([sys.executable, "-m", "tests.cluster", verb, box.plan.name]), check=False)
    if done.returncode:
        raise DaemonError("the cluster did not come up")


def _dns_ready(api: Api, count: int) -> bool:
    status = api.get("/apis/apps/v1/namespaces/kube-system/daemonsets/coredns").get("status", {})
    return int(status.get("numberReady", 0)) == count


def _keep(plan: Plan) -> Path:
    kept = CACHE / "cluster-logs" / plan.name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(plan.logs, kept)
    return kept


def _write(folder: Path, written: dict[str, bytes]) -> None:
    for name, content in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)


def _say(what: str, begun: float) -> None:
    print(f"{what}: {time.monotonic() - begun:.1f} s", flush=True)
