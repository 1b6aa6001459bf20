"""What runbooks and the pages of operations say exists: metrics, settings, verbs, values of the chart, lines of logs, other pages."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from services.local.catalog import sections
from services.runtime.settings import describe
from tests.unit.deploy.exported import ROOT, SERVICES, exported
from tests.unit.deploy.test_rules import ALERTS, RUNBOOKS

DOCS: Final = ROOT / "docs"
CHART: Final = ROOT / "deploy" / "helm" / "tideboard"
PAGES: Final = [
    *sorted(RUNBOOKS.glob("*.md")),
    DOCS / "operations.md",
    DOCS / "install.md",
    ROOT / "README.md",
    CHART / "README.md",
]
ROOTS: Final = ("kafka", "redis", "externalKafka", "externalRedis", "topics", "networkPolicy", "ingestor", "aggregator", "gateway",
                "operator", "collector", "metrics", "dashboards", "crds", "image", "global", "log", "tests", "shippedDashboards")  # fmt: skip
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def words(page: Path) -> list[str]:
    """What stands in backticks, and lines that are commands."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"`([^`\n]+)`", text) + re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)


@every_page
def test_metrics_that_a_page_names_are_exported(page: Path) -> None:
    names = set(exported()) | {name.removesuffix("_bucket") for name in exported()}
    named = {name for word in words(page) for name in re.findall(r"\btideboard_[a-z_]*[a-z]\b", word)} - {"tideboard_token"}
    assert named <= names, named - names


@every_page
def test_settings_that_a_page_names_are_read(page: Path) -> None:
    known = {described.env for section in sections() for cls in section.classes for described, _ in describe(cls)}
    named = {name for word in words(page) for name in re.findall(r"\bTIDEBOARD_[A-Z_]+[A-Z]\b", word)}
    assert {name for name in named if not any(each.startswith(name) for each in known)} - {"TIDEBOARD_TEST_CLUSTER"} == set()


@every_page
def test_verbs_that_a_page_names_are_in_the_makefile(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {verb for word in words(page) for verb in re.findall(r"^make ([a-z-]+)", word)}
    assert named <= verbs, named - verbs


@every_page
def test_values_that_a_page_names_are_in_the_chart(page: Path) -> None:
    for word in words(page):
        paths = [word] if re.fullmatch(rf"(?:{'|'.join(ROOTS)})(?:\.[a-zA-Z]+)+", word) else []
        paths += re.findall(r"--set(?:-string)?[ =]([\w.]+)=", word)
        for path in paths:
            assert in_values(path.split("."), values()), f"{path} is not in values.yaml"


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_lines_of_logs_that_a_page_quotes_are_written(page: Path) -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in SERVICES.rglob("*.py"))
    quoted = [word for word in words(page) if re.fullmatch(r"[a-z]+(?:,? [a-z]+){2,}", word) and not word.startswith("kubectl")]
    assert [line for line in quoted if line not in code] == []


@every_page
def test_pages_that_a_page_leads_to_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(other), f"{target}: no such heading"


def test_the_list_of_pages_says_what_the_alerts_say() -> None:
    rows = (RUNBOOKS / "README.md").read_text(encoding="utf-8").split("|---|---|---|\n")[1].splitlines()
    assert rows == [
        f"| [{name}]({name}.md) | {alert['labels']['severity']} | {alert['annotations']['summary']} |"
        for name, alert in ALERTS.items()
    ]


def in_values(path: list[str], found: Any) -> bool:
    """Whether a value is there; what lies below an empty map is free."""
    for name in path:
        if found == {}:
            return True
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


@cache
def values() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))


@cache
def anchors(page: Path) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
