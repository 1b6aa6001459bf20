"""What the built Kubernetes is kept under, and which compiler will do."""

from dataclasses import replace
from pathlib import Path

import pytest

from tools import golang, kubernetes
from tools.kubernetes import MODULES, Module


@pytest.fixture
def module(tmp_path: Path) -> Module:
    (tmp_path / "go.mod").write_text("module x\n")
    (tmp_path / "go.sum").write_text("")
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "main.go").write_text("package main\n")
    return Module("x", tmp_path, {"main": "./main"}, {"main.version": "1"}, {})


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "main/main.go", "main/other.go"])
def test_any_file_of_the_module_makes_another(module: Module, changed: str) -> None:
    before = kubernetes.key(module, "go1.26.8")
    path = module.folder / changed
    path.write_text("// changed\n")
    assert kubernetes.key(module, "go1.26.8") != before


def test_another_compiler_or_version_makes_another(module: Module) -> None:
    keys = {
        kubernetes.key(module, "go1.26.8"),
        kubernetes.key(module, "go1.26.9"),
        kubernetes.key(replace(module, stamps={"main.version": "2"}), "go1.26.8"),
    }
    assert len(keys) == 3


def test_what_does_not_go_into_it_changes_nothing(module: Module) -> None:
    before = kubernetes.key(module, "go1.26.8")
    (module.folder / "README.md").write_text("words")
    assert kubernetes.key(module, "go1.26.8") == before


def test_a_module_inside_another_changes_only_itself() -> None:
    outer, inner = MODULES[0], MODULES[1]
    assert outer.folder in inner.folder.parents
    assert kubernetes.files(inner)
    assert not {*kubernetes.files(inner)} & {*kubernetes.files(outer)}


def test_the_staging_modules_are_of_the_very_release_that_is_stamped() -> None:
    lines = (MODULES[0].folder / "go.mod").read_text().splitlines()
    replaced = [line.split()[-1] for line in lines if "=> k8s.io/" in line]
    assert len(replaced) > 20
    assert set(replaced) == {kubernetes.VERSION.replace("v1.", "v0.")}


@pytest.mark.parametrize(
    ("version", "will_do"),
    [
        ("go1.26", True),
        ("go1.26.8", True),
        ("go1.30.1", True),
        ("go2.0", True),
        ("go1.25.9", False),
        ("", False),
        ("devel", False),
    ],
)
def test_a_compiler_that_is_too_old_is_not_taken(version: str, will_do: bool) -> None:
    assert golang.new_enough(version) is will_do
