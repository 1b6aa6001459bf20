"""`make image`: which builder, with which words; and what the image leaves out. The image itself is tried in tests/cluster."""

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from tests.servers import ROOT
from tools import image, imagetree
from tools.image import BUILDERS, Plan
from tools.steps import StepError

PLAN = Plan(
    ("one:1", "two:2"), "1.2.3", "abc", 86_400, {"PYTHON_IMAGE": "base@sha256:0", "NODE_IMAGE": "node"}, Path("/ca.pem")
)


@pytest.mark.parametrize(
    ("working", "chosen"),
    [({"docker", "podman", "buildah"}, "docker"), ({"podman", "buildah"}, "podman"), ({"buildah"}, "buildah")],
)
def test_the_first_builder_that_works_is_taken(working: set[str], chosen: str) -> None:
    assert image.choose(working.__contains__) == chosen


def test_without_a_builder_one_sentence_names_all_three() -> None:
    with pytest.raises(StepError) as refused:
        image.choose(lambda _: False)
    assert all(re.search(name, str(refused.value), re.IGNORECASE) for name in BUILDERS)
    assert str(refused.value).count(". ") == 0


def test_a_docker_without_its_engine_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client alone is installed on many machines, and only fails when it is asked for something."""
    docker = tmp_path / "docker"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not image.works("docker")
    for code in (1, 0):
        docker.write_text(f"#!{sys.executable}\nimport sys\nsys.exit({code} if 'version' in sys.argv else 0)\n")
        docker.chmod(0o755)
        assert image.works("docker") == (code == 0)


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_builder_is_told_all_of_the_plan(builder: str) -> None:
    words = [str(word) for word in image.build_command(builder, PLAN)]
    assert words[:2] == [builder, "build"]
    assert _after(words, "--tag") == ["one:1", "two:2"]
    assert {"PYTHON_IMAGE=base@sha256:0", "NODE_IMAGE=node"} <= set(_after(words, "--build-arg"))
    assert _after(words, "--label") == [
        "org.opencontainers.image.version=1.2.3",
        "org.opencontainers.image.revision=abc",
        "org.opencontainers.image.created=1970-01-02T00:00:00Z",
    ]
    assert _after(words, "--secret") == ["id=ca,src=/ca.pem"]
    assert "86400" in " ".join(words), "the time that files bear"
    assert words[-3:] == ["--file", str(ROOT / "Dockerfile"), str(ROOT)]


def test_buildah_isolates_no_further_than_it_can_in_a_container() -> None:
    assert _after([str(word) for word in image.build_command("buildah", PLAN)], "--isolation") == ["chroot"]


@pytest.mark.parametrize("builder", BUILDERS)
def test_an_archive_bears_the_name_of_its_image(builder: str) -> None:
    words = image.save_command(builder, "one:1", Path("/out.tar"))
    assert words[0] == builder
    assert "/out.tar" in " ".join(words)
    assert "one:1" in " ".join(words)


@pytest.mark.parametrize(("environ", "epoch"), [({"SOURCE_DATE_EPOCH": "17"}, 17), ({"SOURCE_DATE_EPOCH": "0"}, 0)])
def test_the_time_of_an_image_is_what_source_date_epoch_says(environ: dict[str, str], epoch: int) -> None:
    assert image.epoch(environ) == epoch


def test_the_bases_are_pinned_by_digest() -> None:
    defaults = re.findall(r"^ARG \w+_IMAGE=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(defaults) == 2
    assert all(re.fullmatch(r"docker\.io/library/\w+:[\w.-]+@sha256:[0-9a-f]{64}", default) for default in defaults)


def test_the_image_has_the_packages_of_a_machine_but_for_the_embedded_servers() -> None:
    """One lock is made from pyproject.toml by the same verb as the others; this fails where one of them was forgotten."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    everything, lean = _pins("requirements-run.lock"), _pins("requirements-image.lock")
    assert {item.split("==")[0].lower() for item in project["dependencies"]} <= set(lean)
    assert lean.items() <= everything.items()
    servers = {item.split("==")[0] for item in project["optional-dependencies"]["local"]}
    assert servers <= everything.keys() - lean.keys()


def test_what_nobody_runs_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.13" / "site-packages"
    stays = [
        "one/__init__.py",
        "one/data.json",
        "one/testing/__init__.py",
        "one/_fast.so",
        "one.libs/libx.so",
        "one-1.dist-info/METADATA",
    ]
    goes = [
        "one/tests/__init__.py",
        "one/tests/deep/test_one.py",
        "one/include/one.h",
        "one/_fast.pyx",
        "one/__init__.pyi",
        "one/_fast.c",
    ]
    for name in (*stays, *goes):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("")
    imagetree.prune(tmp_path)
    assert sorted(str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()) == sorted(stays)
    assert not (packages / "one" / "tests").exists()


def test_bytecode_serves_whatever_the_times_of_files_are(tmp_path: Path) -> None:
    """Layers are copied, and a file's time with it or not; bytecode that looked at it would be passed over."""
    source = tmp_path / "module.py"
    source.write_text("import sys\nprint('compiled')\n")
    imagetree.compile_tree(tmp_path)
    source.write_text("raise AssertionError\n")
    done = subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "compiled\n", done.stderr


def test_a_source_that_cannot_be_compiled_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def :\n")
    with pytest.raises(SystemExit, match="cannot be compiled"):
        imagetree.compile_tree(tmp_path)


def _after(words: list[str], flag: str) -> list[str]:
    return [after for word, after in pairwise(words) if word == flag]


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))
