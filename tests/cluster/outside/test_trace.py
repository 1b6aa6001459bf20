"""Clusters from outside: they live side by side, end with who is tied to them, and leave the machine as it was."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import lifecycle, machine, pods, sandbox
from tests.cluster.api import until
from tests.cluster.daemons import DaemonError
from tests.cluster.images import PROBE, small
from tests.cluster.plan import Node, Plan
from tests.cluster.sandbox import Sandbox
from tools.steps import ROOT

_TOUCHED = (
    "/etc/cni",
    "/etc/resolv.conf",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/run/containerd",
    "/run/netns",
)
_MOUNTED = (*_TOUCHED, "/proc", "/sys", "/etc", "/run ", "/var/lib ", "/var/log ", str(lifecycle.home_of("")))
_INTERFACES = ("br0", "cni0", "carrier0", "carrier1", "node2")


@contextmanager
def cluster(name: str, nodes: int) -> Iterator[Sandbox]:
    box = lifecycle.up(f"{name}-{os.getpid()}", nodes, tied=True)
    try:
        yield box
    finally:
        lifecycle.down(box.plan)


def inside(box: Sandbox, *command: str, stdin: str = "") -> str:
    done = subprocess.run(
        box.inside(command), input=stdin, env=lifecycle.environ(box.plan), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def traces(plan_name: str) -> dict[str, object]:
    """Whatever a cluster could change of the machine, and not what others do on it meanwhile."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "mounts": sorted(line.split(" ", 4)[4] for line in mounts if line.split(" ", 4)[4].startswith(_MOUNTED)),
        "interfaces": [name for name in _INTERFACES if Path("/sys/class/net", name).exists()],
        "tunables": {name: path.read_text() for name in machine.TUNABLES if (path := Path("/proc/sys") / name).exists()},
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob(f"**/*{plan_name}*")),
        "files": {
            path: sorted(map(str, Path(path).iterdir())) if Path(path).is_dir() else Path(path).exists() for path in _TOUCHED
        },
        "rules": subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout.count("KUBE-"),
    }


def test_a_cluster_that_ran_a_pod_leaves_the_machine_as_it_was() -> None:
    name = f"trace-{os.getpid()}"
    before = traces(name)
    with cluster("trace", 1) as box:
        (archive,) = small(box.plan.programs, box.plan.home / "images", [PROBE])
        inside(box, sys.executable, "-m", "tests.cluster", "give", box.plan.name, str(archive))
        running = pods.keeping("running", "kept")
        inside(box, "kubectl", "apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, (pods.claim("kept"), running))))
        inside(box, "kubectl", "wait", "--for=condition=Ready", "pod/running", "--timeout=120s")
        assert traces(name)["cgroups"], "this test looks for cgroups where there are none"
        assert any("process" in each for each in sandbox.left_behind(box.plan))
        assert any("cgroup" in each for each in sandbox.left_behind(box.plan))
        assert any("mount" in each for each in sandbox.left_behind(box.plan))
    assert sandbox.left_behind(box.plan) == []
    assert traces(name) == before


def test_two_clusters_do_not_see_each_other() -> None:
    with cluster("one", 0) as one, cluster("other", 0) as other:
        inside(one, "kubectl", "create", "configmap", "mine")
        assert "mine" in inside(one, "kubectl", "get", "configmaps")
        assert "mine" not in inside(other, "kubectl", "get", "configmaps")
        assert {one.plan.name, other.plan.name} <= {box.plan.name for box in lifecycle.running()}


def test_a_name_is_not_given_twice() -> None:
    with cluster("taken", 0) as box, pytest.raises(DaemonError, match="already"):
        lifecycle.up(box.plan.name, 0)
    assert sandbox.left_behind(box.plan) == []


def test_a_cluster_ends_with_who_it_is_tied_to_and_the_next_one_tidies_up() -> None:
    name = f"orphan-{os.getpid()}"
    starts = f"from tests.cluster import lifecycle; lifecycle.up({name!r}, 0, tied=True); print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", starts], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        assert any(line == "up\n" for line in starter.stdout)
        box = lifecycle.found(name)
        starter.send_signal(signal.SIGKILL)
    until("the sandbox to end", lambda: not box.alive)
    assert box.plan.home.exists()
    lifecycle.sweep()
    assert sandbox.left_behind(box.plan) == []


def test_a_sandbox_that_nobody_has_written_down_is_found_and_ended() -> None:
    """Who started it was killed before that, and it is tied to nobody."""
    name = f"lost-{os.getpid()}"
    waits = "sandbox._begun = lambda *_: (print('begun', flush=True), input())"
    starts = f"from tests.cluster import lifecycle, sandbox; {waits}; lifecycle.up({name!r}, 0)"
    plan = Plan(name, lifecycle.home_of(name), 0)
    with subprocess.Popen(
        [sys.executable, "-c", starts], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        assert any(line == "begun\n" for line in starter.stdout)
        until("the sandbox to be a machine", lambda: (plan.of(Node(1)) / machine.READY).exists())
        lifecycle.sweep()
        assert plan.home.exists(), "its starter still cares for it"
        starter.send_signal(signal.SIGKILL)
    assert any("process" in each for each in sandbox.left_behind(plan))
    lifecycle.sweep()
    assert sandbox.left_behind(plan) == []
