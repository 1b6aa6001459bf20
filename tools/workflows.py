"""The workflows of .github, read by two programs: zizmor as an attacker would, and actionlint for what GitHub would refuse.

python -m tools.workflows             # zizmor, which is among the Python packages
python -m tools.workflows --all       # and actionlint, which Go builds once, in half a minute
"""

import sys
from functools import partial
from pathlib import Path
from typing import Final

from tools.clients import cache
from tools.golang import go
from tools.machine import VENV
from tools.making import whole
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
    key = digest([_MODULE / "go.mod", _MODULE / "go.sum"], compiler.version)[:12]
    return whole(cache() / "actionlint" / key, partial(_build, compiler.program)) / "actionlint"


def _build(compiler: Path, into: Path) -> None:
    with step("actionlint, from its Go module"):
        build: list[str | Path] = [compiler, "build", "-o", into / "actionlint", _PACKAGE]
        environ = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath", "GOWORK": "off", "GOTOOLCHAIN": "local"}
        run(build, cwd=_MODULE, environ=environ, failing="actionlint cannot be built")


def main(arguments: list[str]) -> int:
    try:
        check(everything=arguments == ["--all"])
    except StepError as error:
        print(f"{error.output}\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
