"""What can be asked of Prometheus: the metrics of our services with their labels, and the few of others that rules and panels use."""

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import promql_parser
from prometheus_client import REGISTRY, Metric

ROOT: Final = Path(__file__).parents[3]
SERVICES: Final = ROOT / "services"
ADDED: Final = frozenset({"namespace", "pod", "release", "component", "job", "instance", "container"})
"""The labels that the chart's monitors and Prometheus add."""
_FOREIGN: Final[Mapping[str, frozenset[str]]] = {
    "up": frozenset(),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
    "process_cpu_seconds_total": frozenset(),  # of prometheus_client
    "process_resident_memory_bytes": frozenset(),
    "kube_pod_status_ready": frozenset({"condition"}),  # of kube-state-metrics
    "kube_pod_status_phase": frozenset({"phase"}),
    "kube_pod_container_status_restarts_total": frozenset(),
}


def exported() -> dict[str, frozenset[str]]:
    """The names of all time series that services in a cluster export, and their own labels."""
    for path in SERVICES.glob("*/metrics.py"):
        importlib.import_module(f"services.{path.parent.name}.metrics")
    found: dict[str, frozenset[str]] = {}
    for collector in list(REGISTRY._collector_to_names):
        described = collector.describe() if hasattr(collector, "describe") else []
        labels = frozenset(getattr(collector, "_labelnames", ()))
        for family in described:
            if family.name.startswith("tideboard_"):
                found |= dict(_series(family, labels))
    return found


def _series(family: Metric, labels: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    match family.type:
        case "counter":
            yield f"{family.name}_total", labels
        case "histogram":
            yield f"{family.name}_bucket", labels | {"le"}
            yield f"{family.name}_sum", labels
            yield f"{family.name}_count", labels
        case "gauge":
            yield family.name, labels
        case other:
            raise AssertionError(f"{family.name}: rules and panels have not met a {other} yet")


def known() -> dict[str, frozenset[str]]:
    return {**exported(), **_FOREIGN}


def complaints(expression: str, metrics: Mapping[str, frozenset[str]]) -> list[str]:
    """What is wrong with an expression: its syntax, a metric or a label that nobody exports, a value that no code gives a label."""
    try:
        tree = promql_parser.parse(expression)
    except ValueError as error:
        return [f"{error}: {expression}"]
    found: list[str] = []
    labels: set[str] = set(ADDED)
    selected: list[Any] = []
    grouped: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            selected.append(node)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        return True

    promql_parser.walk(tree, visit)
    for selector in selected:
        if selector.name not in metrics:
            found.append(f"nobody exports {selector.name}")
            continue
        labels |= metrics[selector.name]
        for matcher in selector.matchers.matchers:
            if matcher.name not in metrics[selector.name] | ADDED:
                found.append(f"{selector.name} has no label {matcher.name}")
            elif matcher.name not in ADDED and selector.name.startswith("tideboard_"):
                found += [f"no code says {matcher.name}={value}" for value in _values(matcher.value) if not _said(value)]
    found += [f"nothing here has the label {label}" for label in sorted(grouped - labels)]
    return found if selected else [f"no metric is asked for: {expression}"]


def _values(matched: str) -> list[str]:
    """The values that a matcher names; patterns that are more than a list of words are left alone."""
    return matched.split("|") if re.fullmatch(r"[\w|]+", matched) else []


def _said(value: str) -> bool:
    """Whether some code of the services says this value: as a text, or as a number such as a close code or a status."""
    said = re.compile(
        rf"""["']{re.escape(value)}["']|\b{re.escape(value)}\b""" if value.isdigit() else rf"""["']{re.escape(value)}["']"""
    )
    return any(said.search(text) for text in _texts())


_READ: list[str] = []


def _texts() -> list[str]:
    if not _READ:
        _READ.extend(path.read_text(encoding="utf-8") for path in SERVICES.rglob("*.py"))
    return _READ
