"""An installation of the chart by Helm, as a person would make one, and what a test asks of it.

It runs the images of `tests.cluster.archives`, in a namespace that enforces Pod Security `restricted`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tests.cluster.api import Object, until
from tests.cluster.archives import VERSIONS
from tests.cluster.cluster import Cluster
from tests.cluster.plan import NODES
from tools.chart import CHART

Values = dict[str, Any]
COMPONENTS: Final = ("ingestor", "aggregator", "gateway", "operator", "collector", "kafka", "redis")
_TIMEOUT: Final = "5m"


@dataclass
class Release:
    """helm: helm3 or helm4. values: those of the last install or upgrade."""

    cluster: Cluster
    namespace: str
    helm: str = "helm4"
    name: str = "tide"
    values: Values = field(default_factory=dict)

    def install(self, values: Values | None = None, *, wait: bool = True) -> str:
        return self._put("install", values or {}, wait)

    def upgrade(self, values: Values, *, wait: bool = True) -> str:
        return self._put("upgrade", values, wait)

    def refused(self, values: Values) -> str:
        """What Helm says of an installation that it refuses."""
        done = self.cluster.tried(self.helm, *self._words("install", False), stdin=yaml.safe_dump(values))
        assert done.returncode, f"these values are taken: {done.stdout}"
        return done.stderr.strip()

    def rollback(self, revision: int) -> str:
        return self.run("rollback", self.name, str(revision), "--wait", f"--timeout={_TIMEOUT}")

    def uninstall(self) -> str:
        return self.run("uninstall", self.name, "--wait", f"--timeout={_TIMEOUT}")

    def check(self) -> str:
        """`helm test`. Helm 3 would look for the log of a pod that it has removed by then."""
        logs = ("--logs",) if self.helm == "helm4" else ()
        return self.run("test", self.name, *logs, f"--timeout={_TIMEOUT}")

    def run(self, *words: str, stdin: str | None = None) -> str:
        return self.cluster.client(self.helm, *words, "--namespace", self.namespace, stdin=stdin)

    def full(self, component: str) -> str:
        """What a component's objects are called."""
        return f"{self.name}-tideboard-{component}"

    def selector(self, component: str = "") -> str:
        return f"app.kubernetes.io/instance={self.name}" + (f",app.kubernetes.io/component={component}" if component else "")

    def pods(self, component: str = "") -> list[Object]:
        """Those that are not on their way out."""
        found = self.cluster.pods(self.namespace, self.selector(component))
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def address(self, component: str) -> str:
        """The cluster address of a component's service."""
        service = self.cluster.api.get(f"/api/v1/namespaces/{self.namespace}/services/{self.full(component)}")
        return str(service["spec"]["clusterIP"])

    def url(self, component: str) -> str:
        ports = {"gateway": 8080, "ingestor": 8081}
        return f"http://{self.address(component)}:{ports[component]}"

    def token(self) -> str:
        """A viewer's token, got as NOTES.txt says."""
        gateway = f"deployment/{self.full('gateway')}"
        words = ("exec", "-n", self.namespace, gateway, "--", "python", "-m", "services", "token")
        return self.cluster.kubectl(*words).strip()

    def status(self, pod: str) -> Any:
        """What a pod of ours says of itself at /status."""
        return json.loads(self.cluster.ask(self.namespace, pod, "/status", 9100))

    def settled(self, component: str, count: int) -> list[Object]:
        """Wait until a component has so many pods, all Ready and none on its way out; them."""
        return self.cluster.wait_for(self.namespace, self.selector(component), count)

    def gone(self, kinds: Sequence[str]) -> None:
        """Wait until nothing of these kinds is left of the release."""
        words = ("get", ",".join(kinds), "-n", self.namespace, "-l", self.selector(), "-o", "name")
        until("nothing to be left", lambda: not self.cluster.kubectl(*words).strip() or None)

    def _put(self, verb: str, values: Values, wait: bool) -> str:
        self.values = {"image": {"tag": VERSIONS[0]}} | values
        return self.cluster.client(self.helm, *self._words(verb, wait), stdin=yaml.safe_dump(self.values))

    def _words(self, verb: str, wait: bool) -> list[str]:
        words = [verb, self.name, str(CHART), "--namespace", self.namespace, "--values", "-", f"--timeout={_TIMEOUT}"]
        return [*words, *(["--wait"] if wait else [])]


def tagged(version: str) -> Values:
    """Values that run this version of our image everywhere."""
    return {"image": {"tag": version}}


def admitting(component: str, port: int) -> Values:
    """Values by which the nodes themselves, where the tests run, may reach a component; its own NetworkPolicy refuses them else."""
    peers = [{"ipBlock": {"cidr": NODES}}]
    return {component: {"networkPolicy": {"extraIngress": [{"from": peers, "ports": [{"port": port, "protocol": "TCP"}]}]}}}
