"""What was posted, as the batch job reads it, and what a page must therefore hold and show."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from services.contract.dashboards import parse
from services.contract.series import partition_of, series_key
from services.contract.views import Line, plan
from tests import batch_job
from tests.browser.system import Sample

KINDS = {"gauge": 0, "counter": 1, "delta": 2, "distribution": 3}
PARTITIONS = 4

Cell = tuple[batch_job.Group, int]
Expected = dict[str, dict[Cell, float | batch_job.Allowed]]  # by view


def lines(name: str, spec: Mapping[str, Any]) -> dict[str, list[Line]]:
    """The lines of each panel of a dashboard."""
    document = {"apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": name}, "spec": spec}
    return {item.panel.id: list(item.lines) for item in plan(parse(document))}


def expected(name: str, spec: Mapping[str, Any], samples: Sequence[Sample]) -> Expected:
    """Every cell of every view of a dashboard. samples: in the order in which they were posted, one request after the other."""
    taken = [_as_logged(sample) for sample in samples]
    taken.sort(key=lambda sample: sample.partition)  # stable: in each partition as posted
    return {line.view.id: batch_job.cells(line.view, taken) for found in lines(name, spec).values() for line in found}


def held(dashboard: Mapping[str, Any]) -> dict[str, dict[Cell, float]]:
    """Every cell that a page holds, as its debug handle tells."""
    return {
        view: {
            (tuple(sorted(group["labels"].items())), start): value
            for group in content["groups"]
            for start, value in group["cells"]
        }
        for view, content in dashboard["views"].items()
    }


def differences(found: Mapping[str, Mapping[Cell, float]], wanted: Expected) -> list[str]:
    """How cells differ from what they must be: bit for bit, but for quantiles, which have the error of a sketch."""
    wrong = [f"view {view} should not be there" for view in found.keys() - wanted.keys()]
    for view, cells in wanted.items():
        there = found.get(view, {})
        wrong += [f"{view} {at}: {there[at]} should not be there" for at in there.keys() - cells.keys()]
        wrong += [
            f"{view} {at}: {there.get(at)} instead of {value}" for at, value in cells.items() if not same(there.get(at), value)
        ]
    return wrong


def same(found: float | None, value: float | batch_job.Allowed) -> bool:
    if found is None or math.isnan(found):
        return False
    return value.allows(found) if isinstance(value, batch_job.Allowed) else found == value


def group_of(text: str) -> batch_job.Group:
    """A group from the attribute data-group."""
    return tuple(sorted(json.loads(text).items()))


def _as_logged(sample: Sample) -> batch_job.Sample:
    metric, labels = sample["metric"], sample.get("labels", {})
    key = series_key(metric, labels)
    kind = KINDS[sample.get("kind", "gauge")]
    time = sample["time"]
    return batch_job.Sample(partition_of(key, PARTITIONS), key, kind, metric, labels, time, float(sample["value"]), time)
