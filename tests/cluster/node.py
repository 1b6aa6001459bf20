"""A node: containerd, the kubelet, kube-proxy and the policy controller on one machine of the sandbox, and what can befall it.

Started from inside the sandbox. node1 is the sandbox itself; the others are entered through their first process.
"""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import commands, images
from tests.cluster import plan as plans
from tests.cluster.api import Api, until
from tests.cluster.daemons import DaemonError, Daemons
from tests.cluster.files import CONTAINERD_SOCKET
from tests.cluster.plan import Node, Plan
from tests.cluster.sandbox import entered, start_machine
from tools.machine import CNI_PLUGINS


class Machine:
    """One node of a running cluster, seen from inside the sandbox."""

    def __init__(self, plan: Plan, node: Node, daemons: Daemons) -> None:
        self.plan = plan
        self.node = node
        self.daemons = daemons

    @property
    def prefix(self) -> list[str]:
        """What a command is preceded by to be run on this machine."""
        pid = self._folder / "machine.pid"
        return entered(int(pid.read_text()), "--mount", "--net", "--uts") if pid.exists() else []

    def begin(self) -> None:
        """The machine and its container engine, which need no API server."""
        if self.node.number > 1:
            (self._folder / "machine.pid").write_text(str(start_machine(self.plan, self.node)))
        for volume in self.plan.volumes(self.node):
            volume.mkdir(parents=True)
        self._start("containerd", commands.containerd(self.plan, self.node))
        until("containerd to answer", self._engine_answers)

    def load(self, archives: Sequence[Path]) -> None:
        images.load(self.prefix, archives)

    def join(self, api: Api) -> None:
        """The kubelet and kube-proxy; the policy controller when there is a node to ask about."""
        self._start("kubelet", commands.kubelet(self.plan, self.node))
        self._start("proxy", commands.proxy(self.plan, self.node))
        until(f"{self.node.name} to be known", lambda: self._known(api))
        self._start("policies", commands.policies(self.plan, self.node))

    def wait(self, api: Api) -> None:
        until(f"{self.node.name} to be Ready", lambda: self._ready(api))

    def check(self) -> None:
        self.daemons.check(*(self._name(daemon) for daemon in ("containerd", "kubelet", "proxy", "policies")))

    def end(self, daemon: str) -> None:
        self.daemons.end(self._name(daemon))

    def start_again(self, daemon: str) -> None:
        """Start a daemon anew that was ended."""
        self._start(daemon, getattr(commands, daemon)(self.plan, self.node))

    def set_link(self, state: str) -> None:
        """Cut this node off ("down") or connect it again ("up"). Not for node1, where the control plane is."""
        if self.node.number == 1:
            raise DaemonError("node1 holds the control plane: cut another")
        self.run("ip", "link", "set", "eth0", state)
        if state == "up":
            self._routes()

    def run(self, *command: str) -> str:
        """Run a command on this machine, as an administrator on it would."""
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise DaemonError(f"{' '.join(command)} on {self.node.name}: {done.stderr.strip()}")
        return done.stdout

    def _routes(self) -> None:
        """The kernel forgets the routes through a link that is set down, and the neighbours behind it."""
        self.run("ip", "neighbour", "replace", plans.NOWHERE, "lladdr", plans.NOBODY, "dev", "eth0", "nud", "permanent")
        self.run("ip", "route", "replace", "default", "via", plans.NOWHERE)
        for other in self.plan.nodes:
            if other != self.node:
                self.run("ip", "route", "replace", other.pods, "via", other.address)

    @property
    def _folder(self) -> Path:
        return self.plan.of(self.node)

    def _name(self, daemon: str) -> str:
        return f"{self.node.name}-{daemon}"

    def _start(self, daemon: str, command: Sequence[str]) -> None:
        self.daemons.start(self._name(daemon), [*self.prefix, *command])

    def _engine_answers(self) -> bool:
        self.daemons.check(self._name("containerd"))
        command = [*self.prefix, "ctr", f"--address={CONTAINERD_SOCKET}", "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _known(self, api: Api) -> bool:
        self.daemons.check(self._name("kubelet"))
        path = f"/api/v1/nodes/{self.node.name}"
        if not api.get(path)["spec"].get("podCIDR"):
            api.patch(path, {"spec": {"podCIDR": self.node.pods, "podCIDRs": [self.node.pods]}})
        return True

    def _ready(self, api: Api) -> bool:
        self.check()
        conditions = api.get(f"/api/v1/nodes/{self.node.name}")["status"].get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def plugins() -> str:
    """Where this machine's CNI plugins are."""
    for folder in CNI_PLUGINS:
        if Path(folder, "bridge").exists():
            return folder
    raise DaemonError(f"there are no CNI plugins in {', '.join(CNI_PLUGINS)}")


def machines(plan: Plan, daemons: Daemons) -> list[Machine]:
    return [Machine(plan, node, daemons) for node in plan.nodes]


def load(nodes: Sequence[Machine], archives: Sequence[Path]) -> None:
    """Give archives to nodes, all nodes at once."""
    with ThreadPoolExecutor(max(len(nodes), 1)) as pool:
        for _ in pool.map(lambda machine: machine.load(archives), nodes):
            pass
