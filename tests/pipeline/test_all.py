"""`python -m services all` with real processes: everything comes up, comes back, and goes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil
import pytest

from services.local.embedded import free_port
from tests.servers import ROOT

PATIENCE_S = 40.0
FREE = {
    "TIDEBOARD_ADMIN_PORT": "0",
    "TIDEBOARD_GATEWAY_PORT": "0",
    "TIDEBOARD_INGESTOR_PORT": "0",
    "TIDEBOARD_PARENT": str(os.getpid()),
}
MEMBERS = {"valkey", "broker", "ingestor", "aggregator", "gateway", "collector"}


class All:
    """The target `all`, from its own words on: `status` is its page."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.status_url = ""

    def wait_until_it_is_up(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(r"Status\s+(http\S+)", line):
                self.status_url = found[1]
                return
        assert self.process.stderr is not None
        raise AssertionError(f"it has ended: {''.join(self.said)}{self.process.stderr.read()}")

    def status(self) -> dict[str, Any]:
        return get(self.status_url)

    def child(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(child for child in self.status()["children"] if child["name"] == name)
        return found

    def processes(self) -> list[psutil.Process]:
        """Itself and all that it has started."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]


def get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def running(**environ: str) -> Iterator[All]:
    process = subprocess.Popen(
        [sys.executable, "-m", "services", "all"],
        cwd=ROOT, env={**os.environ, **FREE, **environ}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        everything = All(process)
        everything.wait_until_it_is_up()
        yield everything
    finally:
        process.kill()
        process.communicate()


def eventually(true: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def everything() -> Iterator[All]:
    with running() as found:
        yield found


def test_everything_is_up_and_is_told_in_a_few_lines(everything: All) -> None:
    status = everything.status()
    assert {child["name"]: child["state"] for child in status["children"]} == dict.fromkeys(MEMBERS, "up")
    text = "".join(everything.said)
    assert status["wall"] in text
    assert len(everything.said) <= 20
    assert all(f"pid {child['pid']}" in text for child in status["children"])


def test_services_answer_under_the_links_of_the_status_page(everything: All) -> None:
    links = {child["name"]: child["status"] for child in everything.status()["children"] if child["status"]}
    assert set(links) == MEMBERS - {"valkey", "broker"}
    assert {name: get(link)["service"] for name, link in links.items()} == {name: name for name in links}


def test_the_dashboards_of_the_project_are_in_the_registry(everything: All) -> None:
    dashboards = everything.status()["dashboards"]
    assert set(dashboards["names"]) >= {"host", "tideboard"}
    assert dashboards["faults"] == []
    listed = get(everything.status()["wall"] + "api/v1/dashboards")["dashboards"]
    assert {entry["name"] for entry in listed} >= {"host", "tideboard"}


def is_up_again(child: Callable[[str], dict[str, Any]], name: str, restarts: int) -> bool:
    """It is up, and was started more often than that."""
    found = child(name)
    return bool(found["state"] == "up" and found["restarts"] > restarts)


@pytest.mark.parametrize("name", ["gateway", "valkey", "broker"])
def test_a_child_that_is_killed_comes_back_and_its_end_is_shown(everything: All, name: str) -> None:
    before = everything.child(name)
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: everything.child(name)["restarts"] > before["restarts"], f"{name} was not started again")
    eventually(lambda: everything.child(name)["state"] == "up", f"{name} is not up again")
    after = everything.child(name)
    assert after["last_exit"] == "killed by signal 9"
    assert after["pid"] != before["pid"]


def test_a_broker_that_dies_again_as_soon_as_it_is_back_comes_back_again(everything: All) -> None:
    for _ in range(3):
        restarts = everything.child("broker")["restarts"]
        os.kill(everything.child("broker")["pid"], signal.SIGKILL)
        eventually(partial(is_up_again, everything.child, "broker", restarts), "the broker does not come back")
    eventually(lambda: takes_samples(everything), "the ingestor takes no samples any more")


def takes_samples(everything: All) -> bool:
    """The broker's return may cost the ingestor that had written to the one before."""
    try:
        before = get(everything.child("ingestor")["status"])["samples"]["accepted"]
        time.sleep(1)
        return bool(get(everything.child("ingestor")["status"])["samples"]["accepted"] > before)
    except (OSError, KeyError):  # it is away, or has only just begun
        return False


def test_after_all_that_samples_are_still_taken(everything: All) -> None:
    def accepted() -> int:
        return int(get(everything.child("ingestor")["status"])["samples"]["accepted"])

    before = accepted()
    eventually(lambda: accepted() > before, "the ingestor takes no samples any more")


def test_a_taken_port_is_one_sentence_and_nothing_is_started(everything: All) -> None:
    port = everything.status()["wall"].rsplit(":", 1)[1].strip("/")
    environ = {**os.environ, **FREE, "TIDEBOARD_GATEWAY_PORT": port}
    command = [sys.executable, "-m", "services", "all"]
    done = subprocess.run(command, cwd=ROOT, env=environ, text=True, capture_output=True, check=False, timeout=30)
    needs = f"port {port}, which the gateway needs, is taken by another process; TIDEBOARD_GATEWAY_PORT chooses another port"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"tideboard: {needs}\n")


def test_a_broker_that_grew_too_large_is_replaced_and_the_ingestor_lives_through_it() -> None:
    with running(TIDEBOARD_LOCAL_BROKER_MEMORY_MB="1") as everything:
        ingestor = everything.child("ingestor")
        eventually(lambda: everything.child("broker")["last_exit"] == "grew past 1 MiB", "the broker was not replaced")
        eventually(lambda: everything.child("broker")["state"] == "up", "the fresh broker is not up")
        taken = get(ingestor["status"])["samples"]["accepted"]
        eventually(lambda: get(ingestor["status"])["samples"]["accepted"] > taken, "nothing is taken after the replacement")
        assert everything.child("ingestor")["pid"] == ingestor["pid"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after_the_end(number: signal.Signals) -> None:
    with running() as everything:
        processes = everything.processes()
        assert len(processes) == 1 + len(MEMBERS)
        everything.process.send_signal(number)
        gone, left = psutil.wait_procs(processes, timeout=5.0)
        assert left == []
        assert len(gone) == len(processes)
        codes = {process.pid: getattr(process, "returncode", None) for process in gone}
        assert codes[everything.process.pid] == (-signal.SIGKILL if number == signal.SIGKILL else 0)


def test_a_service_that_refuses_to_start_ends_everything_with_its_sentence() -> None:
    environ = {**os.environ, **FREE, "TIDEBOARD_COLLECTOR_URL": f"nonsense://127.0.0.1:{free_port()}"}
    command = [sys.executable, "-m", "services", "all"]
    done = subprocess.run(command, cwd=ROOT, env=environ, text=True, capture_output=True, check=False, timeout=30)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("tideboard: ")
    assert "Traceback" not in done.stderr
