"""Dashboards that come with an installation: which resources are applied and taken away, whom they belong to, and whose are left alone."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.contract.claims import Kind
from services.operator.cluster import ClusterError
from services.operator.resources import Body
from services.operator.shipped import LABEL, Owner, ShippedError, plan, resources
from services.operator.shipping import LOOK_S, ship
from tests.servers import ROOT

OWNER = Owner("boards-shipped", "uid-1")
SHIPPED = ROOT / "deploy" / "helm" / "tideboard" / "files" / "dashboards"


def text(name: str, title: str = "A") -> str:
    return yaml.safe_dump(
        {"apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": name}, "spec": {"title": title}}
    )


def held(name: str, by: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-of-{name}", "labels": {LABEL: by} if by else None}}


def names(bodies: Iterable[Body]) -> list[str]:
    return [body["metadata"]["name"] for body in bodies]


def test_a_resource_is_owned_by_the_config_map_so_that_it_goes_with_the_release() -> None:
    [found] = resources({"a.yaml": text("a")}, OWNER)
    assert found["metadata"]["labels"] == {LABEL: "boards-shipped"}
    assert found["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "boards-shipped", "uid": "uid-1"}
    ]
    assert found["spec"] == {"title": "A"}


def test_the_files_of_the_chart_are_such_files() -> None:
    found = resources({path.name: path.read_text() for path in SHIPPED.glob("*.yaml")}, OWNER)
    assert names(found) == ["check", "host", "tideboard"]


@pytest.mark.parametrize(
    "broken", ["a: [", "just text", text("a").replace("Dashboard", "Source"), text("a").replace("v1alpha1", "v9")]
)
def test_a_file_that_holds_none_is_named(broken: str) -> None:
    with pytest.raises(ShippedError, match=r"^bad\.yaml"):
        resources({"good.yaml": text("a"), "bad.yaml": broken}, OWNER)


def test_ours_is_applied_again_what_is_in_no_file_goes_and_somebody_elses_is_left_alone() -> None:
    wanted = resources({f"{name}.yaml": text(name) for name in ("new", "old", "theirs")}, OWNER)
    there = [
        held("old", OWNER.name),
        held("dropped", OWNER.name),
        held("theirs"),
        held("other", "another-release"),
        held("own"),
    ]
    decided = plan(wanted, there, OWNER)
    assert names(decided.apply) == ["new", "old"]
    assert names(decided.delete) == ["dropped"]
    assert decided.foreign == ("theirs",)


class Cluster:
    """An API server with one namespace, which may be away for some requests, and refuses what is named `refused`."""

    def __init__(self, *there: dict[str, Any], away: int = 0) -> None:
        self.held = {body["metadata"]["name"]: dict(body) for body in there}
        self._away = away
        self.asked = 0

    async def uid_of_config(self, namespace: str, name: str) -> str:
        assert (namespace, name) == ("boards", OWNER.name)
        if self._away:
            self._away -= 1
            raise ClusterError("the API server does not answer")
        self.asked += 1
        return OWNER.uid

    async def list(self, kind: Kind, namespace: str) -> list[Body]:
        assert (kind, namespace) == ("Dashboard", "boards")
        return list(self.held.values())

    async def apply(self, kind: Kind, namespace: str, body: Body) -> Body:
        name = body["metadata"]["name"]
        if name == "refused":
            raise ClusterError("a panel: no", 422)
        self.held[name] = {**body, "metadata": {**body["metadata"], "uid": f"uid-of-{name}"}}
        return self.held[name]

    async def delete(self, kind: Kind, namespace: str, body: Body) -> None:
        assert self.held.pop(body["metadata"]["name"])["metadata"]["uid"] == body["metadata"]["uid"]


class EnoughError(Exception):
    """Ends what would go on for ever."""


async def shipped(
    cluster: Cluster, folder: Path, *later: dict[str, str], looks: int = 1, then: Callable[[], object] = lambda: None
) -> list[float]:
    """For how long it slept while something was away. later: what the files are at each further look. then: what happens before each."""
    slept: list[float] = []
    changes = list(later)

    async def sleep(seconds: float) -> None:
        nonlocal looks
        if seconds != LOOK_S:
            slept.append(seconds)
            return
        for name, content in (changes.pop(0) if changes else {}).items():
            (folder / name).write_text(content)
            looks += 1
        then()
        looks -= 1
        if not looks:
            raise EnoughError

    with pytest.raises(EnoughError):
        await ship(cluster, "boards", folder, OWNER.name, sleep, there=lambda: list(cluster.held))
    return slept


async def test_a_folder_as_kubernetes_mounts_it_becomes_resources_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "a.yaml").write_text(text("a"))
    (tmp_path / "a.yaml").symlink_to("..2026/a.yaml")
    cluster = Cluster(held("dropped", OWNER.name))
    for _ in range(2):
        assert await shipped(cluster, tmp_path) == []
        assert list(cluster.held) == ["a"]


async def test_other_files_are_other_resources_and_the_same_files_are_not_asked_about_again(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text("a"))
    cluster = Cluster()
    await shipped(cluster, tmp_path, {"a.yaml": text("a", "B")}, looks=3)
    assert cluster.held["a"]["spec"]["title"] == "B"
    assert cluster.asked == 2


async def test_one_that_was_deleted_comes_back_and_one_that_was_changed_stays_so(tmp_path: Path) -> None:
    for name in ("gone", "changed", "refused"):
        (tmp_path / f"{name}.yaml").write_text(text(name))
    cluster = Cluster()
    happens: list[Callable[[], object]] = [
        lambda: cluster.held["changed"].update(spec={"title": "Mine"}),
        lambda: cluster.held.pop("gone"),
    ]
    await shipped(cluster, tmp_path, looks=4, then=lambda: happens.pop(0)() if happens else None)
    assert {name: body["spec"]["title"] for name, body in cluster.held.items()} == {"changed": "Mine", "gone": "A"}
    assert cluster.asked == 2, "the one that is refused is not there either, and is no reason to ask again"


async def test_a_name_that_somebody_has_given_up_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text("a"))
    cluster = Cluster(held("a"))
    await shipped(cluster, tmp_path, looks=2, then=lambda: cluster.held.pop("a", None) if cluster.asked == 1 else None)
    assert cluster.held["a"]["metadata"]["labels"] == {LABEL: OWNER.name}


async def test_an_api_server_that_is_away_is_asked_again_more_and_more_seldom(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text("a"))
    cluster = Cluster(away=7)
    assert await shipped(cluster, tmp_path) == [1, 2, 4, 8, 16, 30, 30]
    assert list(cluster.held) == ["a"]


async def test_one_that_is_refused_does_not_keep_the_others_away(tmp_path: Path) -> None:
    for name in ("a", "refused", "z"):
        (tmp_path / f"{name}.yaml").write_text(text(name))
    cluster = Cluster()
    assert await shipped(cluster, tmp_path) == []
    assert list(cluster.held) == ["a", "z"]


async def test_a_broken_file_changes_nothing_until_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("[")
    cluster = Cluster(held("a", OWNER.name))
    await shipped(cluster, tmp_path)
    assert "spec" not in cluster.held["a"]
    await shipped(cluster, tmp_path, {"a.yaml": text("a")}, looks=2)
    assert cluster.held["a"]["spec"] == {"title": "A"}
