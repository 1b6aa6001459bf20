"""The workflows of .github, read by two programs: zizmor as an attacker would, and actionlint for what GitHub would refuse.

python -m tools.workflows             # zizmor, which is among the Python packages
python -m tools.workflows --all       # and actionlint, which Go builds once, in half a minute
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.clients import cache
from tools.golang import go
from tools.machine import VENV
from tools.steps import ROOT, StepError, digest, run, step

_MODULE: Final = ROOT / "tools" / "actionlint"
_PACKAGE: Final = "github.com/rhysd/actionlint/cmd/actionlint"


def check(*, everything: bool) -> None:
    """StepError says what was found. zizmor asks nobody in the network; pins are true or not whatever it knows of them."""
    zizmor: list[str | Path] = [VENV / "bin" / "zizmor", "--offline", "--quiet", "--persona=pedantic", "--no-progress", "."]
    run(zizmor, failing="zizmor has findings in .github")
    if everything:
        run([_actionlint()], failing="actionlint has findings in .github")


def _actionlint() -> Path:
    compiler = go()
    home = cache() / "actionlint" / digest([_MODULE / "go.mod", _MODULE / "go.sum"], compiler.version)[:12]
    program = home / "actionlint"
    if not program.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=home.parent, prefix="building-"))
        try:
            with step("actionlint, from its Go module"):
                build: list[str | Path] = [compiler.program, "build", "-o", folder / "actionlint", _PACKAGE]
                environ = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath", "GOWORK": "off", "GOTOOLCHAIN": "local"}
                run(build, cwd=_MODULE, environ=environ, failing="actionlint cannot be built")
            if not home.is_dir():
                folder.rename(home)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return program


def main(arguments: list[str]) -> int:
    try:
        check(everything=arguments == ["--all"])
    except StepError as error:
        print(f"{error.output}\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
