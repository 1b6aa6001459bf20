"""The operator as a process in tests: with a service account's token and exactly the rights that docs/operations.md names, and a Valkey beside it.

The rights are read out of that page, so that it states what is enough.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from redis import Redis

from services.contract.registry import Entry, decode_entry
from services.local.embedded import free_port
from services.transport.registry import DASHBOARD_SHELF, Shelf
from tests.cluster.api import Api, NotFoundError, until
from tests.cluster.cluster import Cluster
from tests.servers import ROOT

Object = dict[str, Any]
CRDS: Final = ROOT / "deploy" / "k8s" / "base" / "crds"
PAGE: Final = ROOT / "docs" / "operations.md"
NAME: Final = "operator"
_DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_END_S: Final = 10


@contextlib.contextmanager
def definitions(cluster: Cluster) -> Iterator[None]:
    """The custom resources, for a while. Those that were there before stay, and in a cluster of somebody else stay as they are."""
    with restored(cluster) as missing:
        define(cluster, missing if cluster.plan is None else None)
        yield


@contextlib.contextmanager
def restored(cluster: Cluster) -> Iterator[list[str]]:
    """Which definitions are not there yet; those are gone again afterwards, whoever brings them."""
    missing = [name for name in _files() if not _there(cluster.api, name)]
    try:
        yield missing
    finally:
        for name in missing:
            cluster.kubectl("delete", "crd", name, "--ignore-not-found", "--timeout=60s")


def define(cluster: Cluster, names: Collection[str] | None = None) -> None:
    """names: of definitions; by default all, also where somebody else has made them otherwise."""
    files = {name: path for name, path in _files().items() if names is None or name in names}
    if files:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", *(f"--filename={path}" for path in files.values()))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{name}" for name in files))


def _files() -> dict[str, Path]:
    """By the definition's name."""
    paths = [path for path in CRDS.glob("*.yaml") if path.name != "kustomization.yaml"]
    return {yaml.safe_load(path.read_text())["metadata"]["name"]: path for path in sorted(paths)}


def grant(cluster: Cluster, namespace: str, to: str) -> None:
    """What docs/operations.md says that the operator may do, in a namespace, to the service account of another (or of this) one."""
    cluster.api.apply(_rights("Role", "RoleBinding", NAME, to), namespace)


@contextlib.contextmanager
def granted_everywhere(cluster: Cluster, to: str) -> Iterator[None]:
    """The same in all namespaces, for a while."""
    name = f"{NAME}-{to}"
    cluster.api.apply(_rights("ClusterRole", "ClusterRoleBinding", name, to))
    try:
        yield
    finally:
        cluster.kubectl("delete", f"clusterrole/{name}", f"clusterrolebinding/{name}")


def _rights(role: str, binding: str, name: str, to: str) -> list[Object]:
    found = re.search(r"## What the operator may do\n.*?```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, "the page lists the rights"
    group = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    reference = {"apiGroup": group, "kind": role, "name": name}
    subjects = [{"kind": "ServiceAccount", "name": NAME, "namespace": to}]
    return [
        {**head, "kind": role, **yaml.safe_load(found[1])},
        {**head, "kind": binding, "roleRef": reference, "subjects": subjects},
    ]


def account(cluster: Cluster, namespace: str, folder: Path) -> Path:
    """A service account that may do nothing yet, and a kubeconfig with its token."""
    cluster.api.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}}], namespace)
    return kubeconfig(cluster, namespace, NAME, folder)


def kubeconfig(cluster: Cluster, namespace: str, name: str, folder: Path) -> Path:
    """Of a service account that there is."""
    token = cluster.kubectl("create", "token", name, "-n", namespace).strip()
    told = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--output=json"))
    path = folder / "kubeconfig.json"
    path.write_text(
        json.dumps({
            **told, "current-context": "it", "users": [{"name": "it", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": told["clusters"][0]["name"], "user": "it", "namespace": namespace}}],
        })
    )  # fmt: skip
    return path


class Operator:
    """One process. Its log is kept for when a test fails. settings: more of them, as variables."""

    def __init__(self, kubeconfig: Path, redis_url: str, namespaces: Sequence[str] = (), **settings: str) -> None:
        self._admin = free_port()
        self._environ = {
            **os.environ, "KUBECONFIG": str(kubeconfig), "REDIS_URL": redis_url, "TIDEBOARD_OPERATOR_RESYNC": "1",
            "TIDEBOARD_OPERATOR_NAMESPACES": ",".join(namespaces), "TIDEBOARD_ADMIN_PORT": str(self._admin),
            **settings,
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-W", "error", "-m", "services", "operator"]
        self._process = subprocess.Popen(command, cwd=ROOT, env=self._environ)
        until("the operator to be ready", lambda: self._ask("/readyz") == "ok\n")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(how)
        code = self._process.wait(_END_S)
        self._process = None
        return code

    def status(self) -> Object:
        return dict(json.loads(self._ask("/status")))

    def counted(self, metric: str) -> float:
        """The value of a metric with all its labels; 0 where there is none yet."""
        found = re.search(rf"^{re.escape(metric)} (.*)$", self._ask("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def listed(self, times: int) -> None:
        """Until everything has been listed so many times more."""
        metric = 'tideboard_operator_lists_total{outcome="done"}'
        wanted = self.counted(metric) + times
        until(f"{times} lists", lambda: self.counted(metric) >= wanted)

    def _ask(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert self._process is not None
            assert self._process.poll() is None, "the operator has ended"
            return ""


def registry(url: str, shelf: Shelf = DASHBOARD_SHELF) -> dict[str, Entry]:
    """What lies there now."""
    with Redis.from_url(url) as redis:
        found: dict[bytes, bytes] = redis.hgetall(shelf.entries)
    return {name.decode(): decode_entry(data) for name, data in found.items()}


def document(name: str, spec: Object, kind: str = "Dashboard") -> str:
    return yaml.safe_dump({"apiVersion": "tideboard.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})


def _there(api: Api, name: str) -> bool:
    try:
        api.get(f"{_DEFINITIONS}/{name}")
    except NotFoundError:
        return False
    return True
