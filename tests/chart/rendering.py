"""Rendering the chart with either Helm: `render` gives objects, `refusal` the sentence of values that are refused."""

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tools.chart import CHART, values_files
from tools.clients import client

RELEASE: Final = "demo"
NAMESPACE: Final = "boards"
FILES: Final = {path.name: path for path in values_files()}
WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet")
Object = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """What a release consists of."""

    objects: tuple[Object, ...]

    def of(self, *kinds: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object:
        """name: without the release's."""
        [found] = [found for found in self.of(kind) if found["metadata"]["name"] == f"{RELEASE}-tideboard-{name}"]
        return found

    def names(self, kind: str) -> set[str]:
        return {found["metadata"]["name"].removeprefix(f"{RELEASE}-tideboard-") for found in self.of(kind)}

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Every pod that there will be, as what it comes from and its template."""
        for found in self.of(*WORKLOADS):
            yield f"{found['kind']} {found['metadata']['name']}", found["spec"]["template"]
        for found in self.of("Pod"):
            yield f"Pod {found['metadata']['name']}", found

    def container(self, kind: str, name: str) -> Object:
        """The main container of a workload."""
        found: Object = self.one(kind, name)["spec"]["template"]["spec"]["containers"][0]
        return found

    def environ(self, kind: str, name: str) -> dict[str, str]:
        """What its main process is told, with what the kubelet knows as a made-up word."""
        container = self.container(kind, name)
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            if "configMapRef" in source:
                found |= self.one("ConfigMap", source["configMapRef"]["name"].removeprefix(f"{RELEASE}-tideboard-"))["data"]
        return found | {item["name"]: item.get("value", "made-up") for item in container.get("env", ())}


def render(values: Mapping[str, Any] | None = None, file: str = "", helm: str = "helm4") -> Rendered:
    """With these values, over those of a file in `ci`."""
    return _render(json.dumps(values or {}), file, helm)


@functools.lru_cache(maxsize=24)  # one rendering takes some 5 MiB
def _render(values: str, file: str, helm: str) -> Rendered:
    done = _helm(values, file, helm)
    assert done.returncode == 0, done.stderr
    return Rendered(tuple(found for found in yaml.safe_load_all(done.stdout) if found))


def rendered_as(name: str, values: Mapping[str, Any], chart: Path = CHART, namespace: str = NAMESPACE) -> Rendered:
    """name: of the release. chart: another one than ours."""
    done = _helm(json.dumps(values), "", "helm4", name=name, chart=chart, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return Rendered(tuple(found for found in yaml.safe_load_all(done.stdout) if found))


def notes(values: Mapping[str, Any] | None = None, file: str = "") -> str:
    """What a person reads after an installation. Helm 4's: the one that needs no cluster for it."""
    done = _helm(json.dumps(values or {}), file, "helm4", "install", "--dry-run=client")
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def refusal(values: Mapping[str, Any], file: str = "", helm: str = "helm4", name: str = RELEASE) -> str:
    """What Helm says of values that are refused. name: of the release."""
    done = _helm(json.dumps(values), file, helm, name=name)
    assert done.returncode != 0, "these values are taken"
    return done.stderr


def _helm(
    values: str,
    file: str,
    helm: str,
    verb: str = "template",
    *flags: str,
    name: str = RELEASE,
    chart: Path = CHART,
    namespace: str = NAMESPACE,
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "values.json"
        given.write_text(values)
        files = [*([FILES[file]] if file else ()), given]
        version = ("--kube-version=1.34.0",) if verb == "template" else ()
        command = [client(helm), verb, name, chart, "--namespace", namespace, *version, *flags]
        words = [str(word) for word in (*command, *(f"--values={path}" for path in files))]
        return subprocess.run(words, env={**os.environ, "KUBECONFIG": folder}, capture_output=True, text=True, check=False)
