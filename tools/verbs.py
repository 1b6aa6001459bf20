"""The verbs of the Makefile. Each sets up what it needs, once, and then does its work."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tools import machine
from tools.steps import CACHE, LOG, ROOT, StepError, alone, run, show, step

_BIN = machine.VENV / "bin"


def main(arguments: Sequence[str]) -> int:
    """Do one verb; what follows it is handed on."""
    os.chdir(ROOT)
    verb, *rest = arguments
    try:
        return VERBS[verb](rest)
    except StepError as error:
        return show(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def run_all(rest: list[str]) -> int:
    build(rest)
    environ = dict(os.environ)
    if "MAKELEVEL" in environ:  # what make has started must not outlive it
        environ["TIDEBOARD_PARENT"] = str(os.getppid())
    os.execve(machine.PYTHON, [str(machine.PYTHON), "-m", "services", "all", *rest], environ)  # noqa: S606


def build(_: list[str]) -> int:
    with _set_up():
        machine.python_environment("run")
        machine.wall()
    return 0


def check(_: list[str]) -> int:
    with _set_up():
        machine.python_environment("test")
        machine.packages()
    _check()
    return 0


def test(rest: list[str]) -> int:
    with _set_up():
        machine.python_environment("test")
        machine.wall()
        machine.test_machine()
    with step("Apache Kafka"):
        run([_BIN / "python", "-m", "tests.kafka"], failing="Apache Kafka cannot be fetched")
    _check()
    with step("vitest"):
        run([*machine.npm(), "test"], cwd=machine.FRONTEND, environ=machine.node_environ(), failing="vitest failed")
    return subprocess.run([_BIN / "python", "-m", "pytest", *rest], cwd=ROOT, check=False).returncode


def fmt(_: list[str]) -> int:
    with _set_up():
        machine.python_environment("test")
    run([_BIN / "ruff", "check", "--fix-only", "--quiet", "."], failing="ruff failed")
    run([_BIN / "ruff", "format", "--quiet", "."], failing="ruff failed")
    return 0


def docs(_: list[str]) -> int:
    """docs/settings.md from the settings classes."""
    with _set_up():
        machine.python_environment("run")
    page = run([_BIN / "python", "-m", "services.local.settings_page"], failing="the page cannot be printed")
    (ROOT / "docs" / "settings.md").write_text(page, encoding="utf-8")
    return 0


def lock(_: list[str]) -> int:
    """The locks, from pyproject.toml. They name hashes and no index, so that any mirror will do."""
    with _set_up():
        machine.python_environment("test")
    uv = CACHE / "uv"
    run([_BIN / "python", "-m", "pip", "install", "--quiet", "--target", uv, "uv"], failing="uv cannot be installed")
    same = [
        "--universal",
        "--generate-hashes",
        "--python-version",
        "3.11",
        "--no-emit-index-url",
        "--no-annotate",
        "--no-header",
        "--quiet",
    ]
    compile_: list[str | Path] = [uv / "bin" / "uv", "pip", "compile", *same]
    everything, running = machine.LOCKS["test"], machine.LOCKS["run"]
    with step("Locks"):
        run([*compile_, "pyproject.toml", "--extra", "local", "--extra", "dev", "-o", everything], failing="uv failed")
        run([*compile_, "pyproject.toml", "--extra", "local", "-c", everything, "-o", running], failing="uv failed")
        run([*compile_, "requirements-node.in", "-o", "requirements-node.lock"], failing="uv failed")
    return 0


def bench(rest: list[str]) -> int:
    with _set_up():
        machine.python_environment("test")
        machine.wall()
    return subprocess.run([_BIN / "python", "-m", "tests.bench", *rest], cwd=ROOT, check=False).returncode


def screenshot(rest: list[str]) -> int:
    with _set_up():
        machine.python_environment("test")
        machine.wall()
        machine.test_machine()
    return subprocess.run([_BIN / "python", "-m", "tests.browser.screenshot", *rest], cwd=ROOT, check=False).returncode


def clean(_: list[str]) -> int:
    """Everything that the verbs have made, and nothing else."""
    made = [".venv", ".cache", "build", "test-results", "frontend/node_modules", "frontend/dist"]
    caches = [path for top in ("services", "tests", "tools") for path in (ROOT / top).rglob("__pycache__")]
    for path in [*(ROOT / name for name in made), *caches, *ROOT.glob(".*_cache")]:
        shutil.rmtree(path, ignore_errors=True)
    return 0


def _check() -> None:
    """Every check runs, and all that failed are told."""
    npm = machine.npm()
    checks: list[tuple[str, list[str | Path], Path]] = [
        ("ruff", [_BIN / "ruff", "check", "."], ROOT),
        ("ruff format", [_BIN / "ruff", "format", "--check", "."], ROOT),
        ("mypy", [_BIN / "mypy"], ROOT),
        ("import-linter", [_BIN / "lint-imports"], ROOT),
        ("tsc", [*npm, "run", "--silent", "check"], machine.FRONTEND),
        ("oxlint", [*npm, "run", "--silent", "lint"], machine.FRONTEND),
    ]
    failed = []
    for name, command, cwd in checks:
        try:
            with step(name):
                run(command, cwd=cwd, environ=machine.node_environ(), failing=f"{name} is not content")
        except StepError as error:
            print(error.output, file=sys.stderr)
            failed.append(name)
    if failed:
        raise StepError(f"not content: {', '.join(failed)}")


@contextlib.contextmanager
def _set_up() -> Iterator[None]:
    """Setting up: one `make` at a time, with a new log."""
    with alone():
        LOG.unlink(missing_ok=True)
        yield


VERBS: dict[str, Callable[[list[str]], int]] = {
    "run": run_all, "build": build, "check": check, "test": test, "fmt": fmt, "docs": docs, "lock": lock, "bench": bench,
    "screenshot": screenshot, "clean": clean,
}  # fmt: skip
