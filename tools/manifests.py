"""deploy/k8s for people without Helm: kustomize bases and components, as the chart renders them.

python -m tools.manifests            # writes them, and the Grafana dashboard of the chart
python -m tools.manifests --check    # fails where that would change them, or where kubectl cannot put them together

Written are `base` and the components of RENDERED; overlays and other components are made by hand, and what they patch must be there,
which `kubectl kustomize` checks. How the chart's objects become files is in `kustomize`.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tools import grafana, kustomize
from tools.chart import CHART
from tools.clients import client
from tools.kustomize import Object
from tools.steps import ROOT, StepError, run

HOME: Final = ROOT / "deploy" / "k8s"
NAME: Final = "tideboard"
"""The release's name and namespace. Overlays may choose another namespace: where rendered objects name it, kustomize replaces it."""
VALUES: Final[Mapping[str, Any]] = {
    "crds": {"enabled": False},  # base/crds are their own files: `kubectl delete -k` must not take all dashboards with them
    "tests": {"enabled": False},  # hooks are Helm's
    "gateway": {
        "autoscaling": {"mode": "none"},
        "auth": {"existingSecret": "tideboard-gateway-tokens"},
    },  # a random one would differ each time
}
EXTERNAL: Final[Mapping[str, Mapping[str, Any]]] = {
    "kafka": {
        "kafka": {"enabled": False},
        "externalKafka": {
            "brokers": ["kafka.example:9093"],
            "tls": {"enabled": True, "caSecret": "tideboard-kafka"},
            "sasl": {"mechanism": "SCRAM-SHA-512", "username": "tideboard", "existingSecret": "tideboard-kafka"},
        },
        "topics": {"replication": 3},
    },
    "redis": {
        "redis": {"enabled": False},
        "externalRedis": {
            "sentinel": {"hosts": ["sentinel.example:26379"], "service": "tideboard"},
            "tls": {"enabled": True, "caSecret": "tideboard-redis"},
            "username": "tideboard",
            "existingSecret": "tideboard-redis",
        },
    },
}
"""Servers of one's own, with TLS and users. Overlays name the real ones."""
_MONITORED: Final[Mapping[str, Any]] = {
    "metrics": {
        "serviceMonitor": {"enabled": True},
        # In any namespace: the alerts keep it as a label.
        "prometheusRule": {"enabled": True, "matchers": 'release="tideboard"', "podMatchers": 'pod=~"tideboard-.*"'},
    },
    "dashboards": {"enabled": True},
}
_EXPOSED: Final[Mapping[str, Any]] = {
    "gateway": {
        "ingress": {"enabled": True, "hosts": [{"host": "wall.example"}]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["wall.example"]},
    }
}
SERVICES: Final = ("ingestor", "aggregator", "gateway", "operator", "collector", "watcher")
SERVERS: Final = ("kafka", "redis")


@cache
def tree() -> dict[str, str]:
    """Every file that is written, by its path within deploy/k8s."""
    default, external = rendered(), rendered({**EXTERNAL["kafka"], **EXTERNAL["redis"]})
    found: dict[str, str] = {}
    for component in SERVICES:
        found |= kustomize.folder(f"base/{component}", _of(default, component, kustomize.UNLESS_POLICY))
    found["base/kustomization.yaml"] = kustomize.gathering(SERVICES)
    found["base/crds/kustomization.yaml"] = kustomize.gathering(sorted(path.name for path in _crds()))
    for server in SERVERS:
        found |= kustomize.folder(f"components/builtin-{server}", _of(default, server, kustomize.UNLESS_POLICY), component=True)
    for server, values in EXTERNAL.items():
        found |= kustomize.difference(f"components/external-{server}", default, rendered(values))
    for name, objects in (("network-policies", default), ("network-policies-external", external)):
        policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
        found |= kustomize.folder(f"components/{name}", policies, component=True, flat=True)
    found |= kustomize.folder("components/monitoring", _of(rendered(_MONITORED), "monitoring"), component=True)
    for name, kind in (("ingress", "Ingress"), ("gateway-api", "HTTPRoute")):
        exposed = [each for each in rendered(_EXPOSED) if each["kind"] == kind]
        found |= kustomize.folder(f"components/{name}", exposed, component=True)
    return found


def rendered(values: Mapping[str, Any] | None = None) -> list[Object]:
    """What the chart renders with these values, as people without Helm want it."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for number, each in enumerate((VALUES, values or {})):
            path = Path(folder) / f"{number}.yaml"
            path.write_text(yaml.safe_dump(dict(each)), encoding="utf-8")
            names += ["-f", str(path)]
        text = run(
            [client("helm4"), "template", NAME, CHART, "--namespace", NAME, *names], failing="the chart cannot be rendered"
        )
    return [kustomize.plain(each, NAME) for each in yaml.safe_load_all(text) if each]


def _of(objects: Sequence[Object], component: str, unless: Sequence[str] = ()) -> list[Object]:
    named = [each for each in objects if each["metadata"]["labels"]["app.kubernetes.io/component"] == component]
    return [each for each in named if each["kind"] not in unless]


def _crds() -> Iterator[Path]:
    return (path for path in (HOME / "base" / "crds").glob("*.yaml") if path.name != "kustomization.yaml")


def written() -> dict[str, str]:
    """The files that are there and were written by this, also those that nothing writes any more."""
    texts = {str(path.relative_to(HOME)): path.read_text(encoding="utf-8") for path in HOME.rglob("*") if path.is_file()}
    return {path: text for path, text in texts.items() if path in tree() or kustomize.MARK in text}


def write() -> None:
    grafana.write()
    wanted = tree()
    for path in set(written()) - set(wanted):
        (HOME / path).unlink()
    for path, text in wanted.items():
        (HOME / path).parent.mkdir(parents=True, exist_ok=True)
        (HOME / path).write_text(text, encoding="utf-8")


def check() -> None:
    """StepError where what is there is not what the chart says, or cannot be put together."""
    if grafana.FILE.read_text(encoding="utf-8") != grafana.text():
        raise StepError("the Grafana dashboard is not what tools/panels.py says; make manifests writes it")
    there, wanted = written(), tree()
    if different := sorted(path for path in set(there) | set(wanted) if there.get(path) != wanted.get(path)):
        raise StepError(f"deploy/k8s/{different[0]} is not what the chart renders; make manifests writes it")
    for folder in compositions():
        run([client("kubectl"), "kustomize", folder], failing=f"kubectl kustomize {folder.relative_to(ROOT)} fails")


def compositions() -> list[Path]:
    """Everything that can be applied, and what is put together for this check only."""
    return [HOME / "base", HOME / "base" / "crds", *sorted(HOME.glob("overlays/*/")), *sorted(HOME.glob("tests/*/"))]


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["--check"]:
            check()
        else:
            write()
    except StepError as error:
        print(f"{error.output}\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
