"""The Kubernetes of the tests, built once from upstream's Go modules: what is linked, from what, and where it is kept.

Nothing is started here; that is tests/cluster. Each Go module under tools/kube is built into a folder of the user's cache whose
name is a hash of its files and of the compiler, so that every checkout shares it and any change makes a new one.
"""

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tools.clients import cache
from tools.golang import go
from tools.making import whole
from tools.steps import ROOT, StepError, step

VERSION: Final = "v1.34.10"
_KUBE: Final = ROOT / "tools" / "kube"
_STAMPED: Final = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_TOLD_EVERY_S: Final = 30


@dataclass(frozen=True)
class Module:
    """A Go module and what is built of it: program -> package. names: what else a program is called by."""

    name: str
    folder: Path
    programs: Mapping[str, str]
    stamps: Mapping[str, str]
    names: Mapping[str, str]


_DAEMONS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


def _version_stamps() -> dict[str, str]:
    """Unstamped, it would call itself v0.0.0, and every chart's kubeVersion would refuse it."""
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    told = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean", "gitCommit": "module"}
    told["buildDate"] = "1970-01-01T00:00:00Z"
    return {f"{package}.{name}": value for package in _STAMPED for name, value in told.items()}


MODULES: Final = (
    Module(
        "kubernetes",
        _KUBE,
        {"kubernetes": "./kubernetes", "coredns": "./coredns", "policies": "./policies"},
        _version_stamps(),
        dict.fromkeys(_DAEMONS, "kubernetes"),
    ),
    Module("kwok", _KUBE / "kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, {}, {}),
    Module("pods", _KUBE / "pods", {"pause": "./pause", "probe": "./probe"}, {}, {}),
)


def programs() -> dict[str, Path]:
    """Every program by its name; what has not been built is built, which takes minutes the first time."""
    found: dict[str, Path] = {}
    for module in MODULES:
        home = _built(module)
        found |= {name: home / name for name in (*module.programs, *module.names)}
    return found


def folder(name: str) -> Path:
    """Where the programs of one module are, built where they have not been."""
    return _built(next(module for module in MODULES if module.name == name))


def key(module: Module, compiler: str) -> str:
    """What the module's programs follow from."""
    said = hashlib.sha256(repr((compiler, sorted(module.programs.items()), sorted(module.stamps.items()))).encode())
    for path in files(module):
        said.update(f"\0{path.relative_to(module.folder)}\0".encode())
        said.update(path.read_bytes())
    return said.hexdigest()[:12]


def files(module: Module) -> list[Path]:
    """What goes into it. A module in a folder below is another's."""
    inner = {path.parent for path in module.folder.glob("*/**/go.mod")}
    found = [path for path in sorted(module.folder.rglob("*")) if path.suffix in (".go", ".mod", ".sum")]
    return [path for path in found if not inner & set(path.parents)]


def _built(module: Module) -> Path:
    compiler = go()
    home = cache() / "kube" / f"{module.name}-{key(module, compiler.version)}"
    return whole(home, partial(_build, module, compiler.program))


def _build(module: Module, compiler: Path, into: Path) -> None:
    with step(f"Building {module.name} from its Go modules (minutes, once)"):
        for program, package in module.programs.items():
            link = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in module.stamps.items())])
            _compile([compiler, "build", "-v", "-ldflags", link, "-o", into / program, package], module.folder)
        for name, program in module.names.items():
            (into / name).symlink_to(program)


def _compile(command: list[str | Path], folder: Path) -> None:
    """Run the compiler, which names each package as it is done; now and then we say how many those are."""
    environ = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOWORK": "off",
    }
    said: list[str] = []
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(said, done), daemon=True)
    teller.start()
    try:
        said.extend(process.stdout or ())
    finally:
        done.set()
        process.kill()
        process.wait()
    if process.returncode:
        raise StepError(f"{Path(command[-1]).name} cannot be built from {folder.relative_to(ROOT)}", "".join(said))


def _tell(said: list[str], done: threading.Event) -> None:
    begun = time.monotonic()
    while not done.wait(_TOLD_EVERY_S):
        print(f" {len(said)} packages after {time.monotonic() - begun:.0f} s ...", end="", flush=True)
