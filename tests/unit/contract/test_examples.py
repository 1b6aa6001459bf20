"""The examples of docs/dashboards.md are what they say: documents that are accepted."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.contract.conditions import parse_where
from services.contract.dashboards import DEFAULT_RESOLUTIONS, parse
from services.contract.functions import PLAIN

PAGE = Path("docs/dashboards.md").read_text()
EXAMPLES: list[Any] = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def dashboard(**spec: object) -> dict[str, object]:
    return {"apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "x"}, "spec": spec}


def test_the_document_is_a_dashboard() -> None:
    found = parse(next(item for item in EXAMPLES if "kind" in item))
    assert [panel.id for panel in found.panels] == ["errors", "wait"]


def test_the_conditions_are_conditions() -> None:
    where = next(item["where"] for item in EXAMPLES if isinstance(item, dict) and "where" in item)
    assert [condition.op for condition in parse_where(where, "where")] == ["in", "!=", "=~", "=", "=~", "not in", "!~"]


@pytest.mark.parametrize("query", [query for item in EXAMPLES if isinstance(item, list) for query in item], ids=str)
def test_the_queries_are_queries(query: dict[str, object]) -> None:
    assert parse(dashboard(panels=[{"id": "p", "type": "stat", "query": query}])).panels


def test_the_resolutions_are_the_default_ones() -> None:
    resolutions = next(item["resolutions"] for item in EXAMPLES if isinstance(item, dict) and "resolutions" in item)
    assert parse(dashboard(panels=[], resolutions=resolutions)).resolutions == DEFAULT_RESOLUTIONS


def test_every_function_is_told_of() -> None:
    table = PAGE[PAGE.index("## Functions") : PAGE.index("### each")]
    assert [name for name in PLAIN if f"`{name}`" not in table] == []
