"""The verbs of the Makefile. Each sets up what it needs, once, and then does its work."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tools import image, machine, promtool
from tools.steps import CACHE, LOG, ROOT, StepError, Tool, alone, run, run_through, run_together, show, step

_BIN = machine.VENV / "bin"
_AT_ONCE = 2
_NO_KAFKA = "Apache Kafka cannot be fetched"
_TWO_TESTS_AT_ONCE = ("-n", "2", "--no-loadscope-reorder")  # most of them wait; tests/scheduling.py says which stay together


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
        machine.set_up("run")
    return 0


def check(_: list[str]) -> int:
    with _set_up():
        machine.set_up("test", wall=False)
        machine.packages()
    _check()
    return 0


def test(rest: list[str]) -> int:
    with _set_up():
        machine.test_machine()
        jars = Tool("Apache Kafka's jars", [sys.executable, "-m", "tests.kafka.jars"], _NO_KAFKA)
        machine.set_up("test", jars, Tool("promtool", [sys.executable, "-m", "tools.promtool"], promtool.MISSING))
    _check(
        Tool("Apache Kafka", [_BIN / "python", "-m", "tests.kafka"], _NO_KAFKA),
        Tool("vitest", [*machine.npm(), "test"], "vitest failed", machine.FRONTEND),
    )
    return run_through([_BIN / "python", "-m", "pytest", *_TWO_TESTS_AT_ONCE, *rest])


def test_cluster(rest: list[str]) -> int:
    """The tests that need a Kubernetes: in a sandbox of our own, or against the cluster of KUBECONFIG."""
    external = os.environ.get("TIDEBOARD_TEST_CLUSTER") == "external"
    if not external and (sys.platform != "linux" or os.geteuid() != 0):
        raise StepError("the test cluster needs Linux and root; or set TIDEBOARD_TEST_CLUSTER=external and KUBECONFIG")
    with _set_up():
        if not external:
            machine.cluster_machine()
        machine.set_up("test")
        if not external:
            with step("Apache Kafka"):
                run([_BIN / "python", "-m", "tests.kafka"], failing=_NO_KAFKA)
    return run_through([_BIN / "python", "-m", "tests.cluster", "test", *(["--", *rest] if rest else [])])


def fmt(_: list[str]) -> int:
    with _set_up():
        machine.set_up("test", wall=False)
    run([_BIN / "ruff", "check", "--fix-only", "--quiet", "."], failing="ruff failed")
    run([_BIN / "ruff", "format", "--quiet", "."], failing="ruff failed")
    return 0


def docs(_: list[str]) -> int:
    """docs/settings.md from the settings classes."""
    with _set_up():
        machine.set_up("run", wall=False)
    page = run([_BIN / "python", "-m", "services.local.settings_page"], failing="the page cannot be printed")
    (ROOT / "docs" / "settings.md").write_text(page, encoding="utf-8")
    return 0


def crds(_: list[str]) -> int:
    """The definitions of the custom resources from the contract."""
    with _set_up():
        machine.set_up("run", wall=False)
    run([_BIN / "python", "-m", "tools.crds"], failing="the definitions cannot be written")
    return 0


def chart(_: list[str]) -> int:
    """The chart's values.schema.json from its values.yaml."""
    with _set_up():
        machine.set_up("test", wall=False)
    run([_BIN / "python", "-m", "tools.chart"], failing="the chart's schema cannot be written")
    return 0


def manifests(_: list[str]) -> int:
    """deploy/k8s from the chart."""
    with _set_up():
        machine.set_up("test", wall=False)
    run([_BIN / "python", "-m", "tools.manifests"], failing="the manifests cannot be written")
    return 0


def workflows(_: list[str]) -> int:
    """.github, by both programs: `make check` has no compiler for the second one."""
    with _set_up():
        machine.set_up("test", wall=False)
    return run_through([_BIN / "python", "-m", "tools.workflows", "--all"])


def lock(_: list[str]) -> int:
    """The locks, from pyproject.toml. They name hashes and no index, so that any mirror will do."""
    with _set_up():
        machine.set_up("test", wall=False)
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
        run([*compile_, "pyproject.toml", "-c", everything, "-o", "requirements-image.lock"], failing="uv failed")
        for name in ("node", "compiler"):
            run([*compile_, f"requirements-{name}.in", "-o", f"requirements-{name}.lock"], failing="uv failed")
    return 0


def bench(rest: list[str]) -> int:
    with _set_up():
        machine.set_up("test")
    return subprocess.run([_BIN / "python", "-m", "tests.bench", *rest], cwd=ROOT, check=False).returncode


def chaos(rest: list[str]) -> int:
    with _set_up():
        machine.set_up("test", wall=False)
    with step("Apache Kafka"):
        run([_BIN / "python", "-m", "tests.kafka"], failing=_NO_KAFKA)
    return subprocess.run([_BIN / "python", "-m", "tests.chaos", *rest], cwd=ROOT, check=False).returncode


def fuzz(rest: list[str]) -> int:
    with _set_up():
        machine.set_up("test", wall=False)
    return subprocess.run([_BIN / "python", "-m", "tests.fuzz", *rest], cwd=ROOT, check=False).returncode


def soak(rest: list[str]) -> int:
    with _set_up():
        machine.set_up("test", wall=False)
    return subprocess.run([_BIN / "python", "-m", "tests.soak", *rest], cwd=ROOT, check=False).returncode


def screenshot(rest: list[str]) -> int:
    with _set_up():
        machine.test_machine()
        machine.set_up("test")
    return subprocess.run([_BIN / "python", "-m", "tests.browser.screenshot", *rest], cwd=ROOT, check=False).returncode


def clean(_: list[str]) -> int:
    """Everything that the verbs have made, and nothing else."""
    made = [
        ".venv",
        ".cache",
        "build",
        "test-results",
        "frontend/node_modules",
        "frontend/dist",
        "services/gateway/libsends.so",
    ]
    caches = [path for top in ("services", "tests", "tools") for path in (ROOT / top).rglob("__pycache__")]
    for path in [*(ROOT / name for name in made), *caches, *ROOT.glob(".*_cache")]:
        if path.is_file():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)
    return 0


def _check(*also: Tool) -> None:
    """Every check runs, and all that failed are told. also: what else can be done meanwhile."""
    npm = machine.npm()
    checks = [  # what takes long begins first
        Tool("mypy", [_BIN / "mypy"], "mypy is not content"),
        *also,
        Tool("tsc", [*npm, "run", "--silent", "check"], "tsc is not content", machine.FRONTEND),
        Tool("import-linter", [_BIN / "lint-imports"], "import-linter is not content"),
        Tool("zizmor", [_BIN / "python", "-m", "tools.workflows"], "zizmor is not content"),
        Tool("manifests", [_BIN / "python", "-m", "tools.manifests", "--check"], "deploy/k8s is not in order"),
        Tool("helm lint", [_BIN / "python", "-m", "tools.chart", "--check"], "the chart is not in order"),
        Tool("oxlint", [*npm, "run", "--silent", "lint"], "oxlint is not content", machine.FRONTEND),
        Tool("ruff", [_BIN / "ruff", "check", "."], "ruff is not content"),
        Tool("ruff format", [_BIN / "ruff", "format", "--check", "."], "ruff format is not content"),
    ]
    failed = run_together(checks, machine.node_environ(), at_once=_AT_ONCE)
    for error in failed:
        print(error.output, file=sys.stderr)
    if failed:
        raise StepError("; ".join(map(str, failed)))


@contextlib.contextmanager
def _set_up() -> Iterator[None]:
    """Setting up: one `make` at a time, with a new log."""
    with alone():
        LOG.unlink(missing_ok=True)
        yield


VERBS: dict[str, Callable[[list[str]], int]] = {
    "run": run_all, "build": build, "check": check, "test": test, "fmt": fmt, "docs": docs, "crds": crds, "chart": chart, "manifests": manifests, "workflows": workflows, "lock": lock, "bench": bench,
    "image": image.main, "test-cluster": test_cluster, "chaos": chaos, "fuzz": fuzz, "soak": soak, "screenshot": screenshot, "clean": clean,
}  # fmt: skip
