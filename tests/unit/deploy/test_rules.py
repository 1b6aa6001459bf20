"""The alerts that the chart ships: their expressions are PromQL over what is really exported, and each has its page."""

import re
from typing import Any, Final

import pytest
import yaml

from tests.unit.deploy.exported import ROOT, complaints, known

FILE: Final = ROOT / "deploy" / "helm" / "tideboard" / "files" / "monitoring" / "rules.yaml"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
SELECT: Final = 'namespace="live",release="tideboard"'
PODS: Final = 'namespace="live",pod=~"tideboard-.*"'
ALERTS: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule for group in yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
}
SECTIONS: Final = ("What it means", "Who is affected", "How to look", "What to do")


def expression(alert: str) -> str:
    return str(ALERTS[alert]["expr"]).replace("$select", SELECT).replace("$pods", PODS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_asks_for_what_is_exported(alert: str) -> None:
    assert complaints(expression(alert), known()) == []


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_asks_for_this_release_only(alert: str) -> None:
    text = ALERTS[alert]["expr"]
    selectors = re.findall(r"(?:tideboard_\w+|kube_\w+|\bup)(\{[^}]*\})?", text)
    assert selectors
    assert all(found.startswith(("{$select", "{$pods")) for found in selectors), text


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_it_is(alert: str) -> None:
    rule = ALERTS[alert]
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description"}
    asked = re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"])
    kept = {"pod"} if "up{" in rule["expr"] else set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))
    assert set(asked) <= kept, "a label that the expression does not keep"


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("Tideboard*.md")} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_page_answers_the_four_questions(alert: str) -> None:
    page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {alert}\n")
    assert tuple(re.findall(r"^## (.*)$", page, re.MULTILINE)) == SECTIONS
    assert f"**{ALERTS[alert]['labels']['severity']}**" in page.split("## ")[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("sum(rate(tideboard_gateway_sockets[5m])", "unclosed left parenthesis"),
        ("tideboard_gateway_sokets", "nobody exports tideboard_gateway_sokets"),
        ('tideboard_gateway_sockets{color="red"}', "tideboard_gateway_sockets has no label color"),
        ('tideboard_aggregator_commits_total{outcome="stord"}', "no code says outcome=stord"),
        ("sum by (dashboard) (tideboard_gateway_sockets)", "nothing here has the label dashboard"),
        ("vector(1)", "no metric is asked for"),
    ],
)
def test_what_is_wrong_is_found(wrong: str, said: str) -> None:
    found = complaints(wrong, known())
    assert any(said in complaint for complaint in found), found
