"""What `make` rests on: steps that are done once, tools that fail with a sentence, and a first file that old Pythons can read."""

import ast
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.servers import ROOT
from tools import steps, verbs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(steps, "LOG", tmp_path / "cache" / "setup.log")
    monkeypatch.setattr(steps, "ROOT", tmp_path)


def test_python_3_6_can_read_the_first_file() -> None:
    for name in ("__init__.py", "__main__.py"):
        ast.parse((ROOT / "tools" / name).read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_a_python_without_its_venv_module_is_told_in_one_sentence(module: str) -> None:
    hide = f"import sys, runpy; sys.modules[{module!r}] = None; sys.argv = ['tools', 'run']; runpy.run_module('tools', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", hide], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(
        r"tideboard: Python 3\.\d+ lacks its venv module; apt install python3\.\d+-venv brings it .*\n", done.stderr
    )


def test_a_python_that_is_too_old_is_told_in_one_sentence() -> None:
    age = "import sys, runpy; sys.version_info = (3, 10, 0); sys.argv = ['tools', 'run']; runpy.run_module('tools', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", age], cwd=ROOT, text=True, capture_output=True, check=False, env={"PATH": ""})
    assert done.returncode == 2
    assert done.stderr.startswith("tideboard: Python 3.10 is too old; install Python 3.11 or newer")
    assert done.stderr.count("\n") == 1


def test_every_verb_of_the_makefile_is_there_and_is_listed_by_help() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert {"help", "run", "test", "test-cluster", "check", "fmt", "bench", "screenshot", "build", "clean"} <= set(
        re.findall(r"make ([\w-]+)", listed)
    )
    called = set(re.findall(r"-m tools ([\w-]+)", (ROOT / "Makefile").read_text()))
    assert called == set(verbs.VERBS)


def test_a_tool_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(steps.StepError, match="it cannot be done") as caught:
        steps.run(["sh", "-c", "echo out; echo err >&2; exit 3"], failing="it cannot be done", cwd=tmp_path)
    assert caught.value.output == "out\nerr\n"
    assert "out\nerr" in steps.LOG.read_text()


def test_a_tool_that_is_missing_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(steps.StepError, match=r"it cannot be done \(no-such-tool: No such file or directory\)"):
        steps.run(["no-such-tool"], failing="it cannot be done", cwd=tmp_path)


def test_a_stamp_holds_for_what_it_was_set_to_and_until_it_is_forgotten() -> None:
    stamp = steps.Stamp("a")
    assert not stamp.holds("1")
    stamp.set("1")
    assert stamp.holds("1")
    assert not stamp.holds("2")
    stamp.forget()
    assert not stamp.holds("1")


def test_a_digest_changes_with_content_names_and_what_else_matters(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("x")
    found = {steps.digest([one]), steps.digest([two]), steps.digest([one, two]), steps.digest([one], "3.11")}
    one.write_text("y")
    found.add(steps.digest([one]))
    assert len(found) == 5
    assert steps.digest([two, one]) == steps.digest([one, two])


def test_a_tool_ends_when_its_caller_is_killed(tmp_path: Path) -> None:
    code = "from tools.steps import run; run(['sh', '-c', 'echo $$ > pid; exec sleep 60'], failing='no', cwd=__import__('pathlib').Path('.'))"
    caller = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )
    tool = psutil.Process(_pid_in(tmp_path / "pid", caller))
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert psutil.wait_procs([tool], timeout=5)[1] == []


def test_tools_that_run_together_all_end_and_all_that_failed_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tool(name: str, script: str) -> steps.Tool:
        return steps.Tool(name, ["sh", "-c", script], f"{name} failed", tmp_path)

    first = 'until [ -e made ]; do sleep 0.01; done; echo "I saw $GREETING"; exit 3'  # only beside the second can it end
    tools = [tool("one", first), tool("two", "touch made"), tool("three", "exit 4"), tool("four", "touch last")]
    failed = steps.run_together(tools, {"GREETING": "hello"}, at_once=2)
    assert {str(error): error.output for error in failed} == {"one failed": "I saw hello\n", "three failed": ""}
    assert (tmp_path / "last").exists()
    assert "I saw hello" in steps.LOG.read_text()
    told = capsys.readouterr().out
    assert "one ... failed\n" in told
    assert re.search(r"^four \.\.\. \d+ s$", told, re.MULTILINE)


def test_no_tool_outlives_the_others_when_all_are_interrupted(tmp_path: Path) -> None:
    code = (
        "import pathlib, tools.steps as s; s.CACHE = here = pathlib.Path('.'); s.LOG = here / 'log';"
        " s.run_together([s.Tool('a', ['sh', '-c', 'trap : INT; echo $$ > pid; exec sleep 60'], 'no', here)], {}, 2)"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        preexec_fn=_hear_interrupts,
    )
    tool = psutil.Process(_pid_in(tmp_path / "pid", caller))
    caller.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in caller.communicate(timeout=20)[1]
    assert psutil.wait_procs([tool], timeout=5)[1] == []


def _hear_interrupts() -> None:
    """Also where the tests themselves run in the background of a shell, which ignores them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _pid_in(written: Path, writer: subprocess.Popen[bytes]) -> int:
    """What is in a file as soon as it is written."""
    until = time.monotonic() + 20
    while not (written.exists() and written.read_text().strip()):
        assert writer.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    return int(written.read_text())
