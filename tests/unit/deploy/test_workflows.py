"""The workflows of .github, beyond what zizmor and actionlint know: they say what this repository says."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.unit.deploy.exported import ROOT
from tests.unit.deploy.test_runbooks import in_values, values
from tools import clients, image

WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
CHART: Final = yaml.safe_load((ROOT / "deploy" / "helm" / "tideboard" / "Chart.yaml").read_text(encoding="utf-8"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def workflow(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


@each_workflow
def test_actions_are_pinned_by_commit_and_say_which_version_that_is(path: Path) -> None:
    used = re.findall(r"uses: ([^.\s]\S+)(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action}{comment}"


@each_workflow
def test_an_action_is_of_one_version_everywhere(path: Path) -> None:
    everywhere = {action for each in WORKFLOWS for action in re.findall(r"uses: (\S+)", each.read_text(encoding="utf-8"))}
    for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
        assert len([one for one in everywhere if one.partition("@")[0] == action.partition("@")[0]]) == 1, action


@each_workflow
def test_nobody_may_anything_but_what_a_job_says(path: Path) -> None:
    found = workflow(path)
    assert found["permissions"] == {}
    for job in found["jobs"].values():
        assert job["permissions"]["contents"] == "read"
        if "uses" not in job:
            assert job["timeout-minutes"] <= 90


@each_workflow
def test_a_pipe_fails_where_a_part_of_it_fails(path: Path) -> None:
    """GitHub's own default for Linux is bash without pipefail; named, it is with it."""
    found = workflow(path)
    assert found["defaults"]["run"]["shell"] == "bash"
    for job in found["jobs"].values():
        assert "defaults" not in job
        assert not any("shell" in step for step in job.get("steps", ()))


def test_nothing_is_released_that_has_not_passed() -> None:
    """What every change must pass, on the very commit that the tag is of."""
    jobs = workflow(ROOT / ".github" / "workflows" / "release.yaml")["jobs"]
    asked = {name: job["uses"] for name, job in jobs.items() if "uses" in job}
    on_every_change = {path.name for path in WORKFLOWS if "pull_request" in _events(path)}
    assert {use.rpartition("/")[2] for use in asked.values()} == on_every_change
    assert all("workflow_call" in _events(ROOT / use) for use in asked.values())
    for name in jobs.keys() - asked.keys():
        assert asked.keys() <= _waits_for(jobs, name), name


def test_helm_test_looks_with_a_token_and_without() -> None:
    path = ROOT / ".github" / "workflows" / "kubernetes.yaml"
    legs = workflow(path)["jobs"]["kind"]["strategy"]["matrix"]["include"]
    assert {leg["auth"] for leg in legs} == {"none", values()["gateway"]["auth"]["mode"]}
    assert '--set gateway.auth.mode="$AUTH"' in path.read_text(encoding="utf-8")


def _events(path: Path) -> set[str]:
    """What it runs on: a key that YAML 1.1 reads as a truth."""
    return set(yaml.safe_load(path.read_text(encoding="utf-8"))[True])


def _waits_for(jobs: dict[str, Any], name: str) -> set[str]:
    needs = jobs[name].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*(_waits_for(jobs, each) for each in direct))


@each_workflow
def test_verbs_are_in_the_makefile_and_values_in_the_chart(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= verbs
    for value in re.findall(r"--set ([\w.]+)=", text):
        assert in_values(value.split("."), values()), value


def test_the_oldest_kubernetes_is_the_one_that_the_chart_names() -> None:
    legs = workflow(ROOT / ".github" / "workflows" / "kubernetes.yaml")["jobs"]["kind"]["strategy"]["matrix"]["include"]
    versions = sorted(tuple(map(int, leg["kubernetes"].split("."))) for leg in legs)
    assert f">={'.'.join(map(str, versions[0]))}.0-0" == CHART["kubeVersion"]
    for leg in legs:
        assert re.fullmatch(rf"kindest/node:v{re.escape(leg['kubernetes'])}\.\d+@sha256:[0-9a-f]{{64}}", leg["node"])
    assert {leg["helm"].split(".")[0] for leg in legs} == {
        clients.CLIENTS[name].major.rstrip(".") for name in ("helm3", "helm4")
    }


def test_chart_and_program_are_of_one_version() -> None:
    """A release is made of one tag."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {CHART["version"], CHART["appVersion"]} == {project["version"]}


def test_the_released_image_says_what_it_is_as_any_other_does() -> None:
    """The Dockerfile is given its labels by who builds it; an argument that it does not have would be dropped without a word."""
    [build] = [
        step["with"]
        for step in workflow(ROOT / ".github" / "workflows" / "release.yaml")["jobs"]["image"]["steps"]
        if step.get("uses", "").startswith("docker/build-push-action@")
    ]
    words = image.build_command("docker", image.Plan((), "1", "2", 0))
    given = {str(word).partition("=")[0] for before, word in pairwise(words) if before == "--label"}
    assert given <= set(re.findall(r"^([\w.]+)=", build["labels"], re.MULTILINE))
    known = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^(\w+)=", build.get("build-args", ""), re.MULTILINE)) <= {*known, "SOURCE_DATE_EPOCH"}
