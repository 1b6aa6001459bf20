"""A service as a process: its probes, its exit codes, and its end within five seconds. Real processes."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.local.embedded import free_port
from tests.servers import ROOT

_SCRIPT = textwrap.dedent("""
    import asyncio, resource, sys, time
    from prometheus_client import Counter
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from services.runtime import logs, process
    from services.runtime.admin import AdminSettings

    class Demo:
        name = "demo"
        mode = sys.argv[2]
        reason = ""

        async def start(self):
            if self.mode == "refuses":
                raise process.StartupError("the moon is not full")
            if self.mode == "starts slowly":
                await asyncio.sleep(60)

        async def run(self):
            if self.mode == "fails":
                raise ValueError("no")
            if self.mode == "ends":
                return
            self.gone = asyncio.Event()
            await asyncio.wait_for(self.gone.wait(), 60)
            print("everybody has left", flush=True)

        def leave(self):
            if not self.mode.startswith("leaves"):
                return 0
            print("leaving", flush=True)
            if self.mode == "leaves":
                asyncio.get_running_loop().call_later(1, self.gone.set)
            return 0.1 if self.mode == "leaves never" else 30

        async def stop(self):
            print("stopping", flush=True)
            if self.mode == "hangs":
                await asyncio.sleep(60)
            if self.mode == "blocks":
                time.sleep(60)
            print("stopped", flush=True)

        def readiness(self):
            return "no moon" if self.mode == "unready" else ""

        def liveness(self):
            return "stuck" if self.mode == "dead" else ""

        def status(self):
            return {"mode": self.mode, "files": resource.getrlimit(resource.RLIMIT_NOFILE)}

        def order_routes(self):
            async def hello(_):
                return PlainTextResponse("hello")
            return [Route("/hello", hello)]

    Counter("tideboard_demo_turns_total", "Turns that were made")
    logs.configure("demo")
    print("configured", flush=True)
    sys.exit(process.main(Demo(), AdminSettings(port=int(sys.argv[1]), orders_port=int(sys.argv[3]))))
""")


class Demo:
    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_until_it_answers(self) -> None:
        until = time.monotonic() + 10
        while True:
            try:
                self.get("/livez")
                return
            except OSError:
                assert time.monotonic() < until, "the admin server does not answer"
                time.sleep(0.02)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@contextmanager
def demo(mode: str, orders_port: int = 0) -> Iterator[Demo]:
    port = free_port()
    arguments = [sys.executable, "-c", _SCRIPT, str(port), mode, str(orders_port)]
    process = subprocess.Popen(
        arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_prepare
    )
    try:
        yield Demo(process, port)
    finally:
        process.kill()
        process.communicate()


def _prepare() -> None:
    """Hear hangups also where the tests themselves run under nohup, and begin with few files, as a login does."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_a_service_in_order_answers_all_its_probes() -> None:
    with demo("runs") as running:
        running.wait_until_it_answers()
        _until_started(running)
        assert running.get("/livez") == (200, "ok\n")
        assert running.get("/readyz") == (200, "ok\n")
        assert running.get("/hello") == (200, "hello")
        assert "# HELP tideboard_demo_turns_total Turns that were made" in running.get("/metrics")[1]
        status = json.loads(running.get("/status")[1])
        assert status["service"] == "demo"
        assert status["mode"] == "runs"
        assert status["ready"]
        allowed, most = status["files"]
        assert allowed == min(most, 1_048_576), "it may open as many files as the machine allows"
        assert status["pid"] == running.process.pid


def test_orders_can_have_a_port_of_their_own() -> None:
    orders = free_port()
    with demo("runs", orders) as running:
        running.wait_until_it_answers()
        own = Demo(running.process, orders)
        own.wait_until_it_answers()
        assert (running.get("/hello")[0], own.get("/hello")) == (404, (200, "hello"))
        assert {own.get(path)[0] for path in ("/livez", "/readyz", "/metrics", "/status")} == {404}


def test_a_taken_port_for_orders_is_one_sentence() -> None:
    with demo("runs") as first:
        first.wait_until_it_answers()
        with demo("runs", first.port) as second:
            code, _, said = second.end()
        assert code == 2
        assert (
            f"port {first.port} on 127.0.0.1 is taken by another process; TIDEBOARD_ADMIN_ORDERS_PORT chooses another" in said
        )


def test_who_cannot_work_says_why() -> None:
    with demo("unready") as running:
        running.wait_until_it_answers()
        _until_started(running)
        assert running.get("/readyz") == (503, "no moon\n")
        assert running.get("/livez")[0] == 200
        assert json.loads(running.get("/status")[1])["reason"] == "no moon"


def test_who_still_starts_is_alive_and_not_ready_and_can_be_stopped() -> None:
    with demo("starts slowly") as running:
        running.wait_until_it_answers()
        assert running.get("/livez")[0] == 200
        assert running.get("/readyz") == (503, "starting\n")
        running.process.terminate()
        code, out, err = running.end()
        assert code == 0, err
        assert "stopped" in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    with demo("runs") as running:
        running.wait_until_it_answers()
        running.process.send_signal(number)
        code, out, err = running.end()
        assert code == 0, err
        assert out.splitlines() == ["configured", "stopping", "stopped"]


@pytest.mark.parametrize("mode", ["hangs", "blocks"])
def test_who_does_not_stop_is_ended_within_five_seconds(mode: str) -> None:
    with demo(mode) as running:
        running.wait_until_it_answers()
        running.process.terminate()
        code, out, _ = running.end()  # which waits for ten, and the service for sixty
        assert code == 1
        assert "stopped" not in out


def test_a_second_signal_ends_it_at_once() -> None:
    with demo("hangs") as running:
        running.wait_until_it_answers()
        running.process.terminate()
        assert running.process.stdout is not None
        assert [running.process.stdout.readline() for _ in range(2)] == ["configured\n", "stopping\n"]
        running.process.terminate()
        assert running.end()[0] == 128 + signal.SIGTERM


def test_who_is_in_use_runs_on_until_everybody_has_left() -> None:
    with demo("leaves") as running:
        running.wait_until_it_answers()
        _until_started(running)
        running.process.terminate()
        _until_said(running, "leaving")
        running.process.terminate()  # whoever sends it twice means the same
        code, out, err = running.end()
        assert code == 0, err
        assert out.splitlines() == ["everybody has left", "stopping", "stopped"]


def test_who_is_never_left_alone_ends_all_the_same() -> None:
    with demo("leaves never") as running:
        running.wait_until_it_answers()
        _until_started(running)
        running.process.terminate()
        code, out, err = running.end()
        assert code == 0, err
        assert out.splitlines() == ["configured", "leaving", "stopping", "stopped"]


def test_an_interrupt_cuts_leaving_short() -> None:
    with demo("leaves later") as running:
        running.wait_until_it_answers()
        _until_started(running)
        running.process.terminate()
        _until_said(running, "leaving")
        running.process.send_signal(signal.SIGINT)
        code, out, err = running.end()
        assert code == 0, err
        assert out.splitlines() == ["stopping", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_person_need_not_wait_for_others_to_leave(number: signal.Signals) -> None:
    with demo("leaves later") as running:
        running.wait_until_it_answers()
        _until_started(running)
        running.process.send_signal(number)
        code, out, err = running.end()
        assert code == 0, err
        assert out.splitlines() == ["configured", "stopping", "stopped"]


def test_who_refuses_to_start_says_one_sentence() -> None:
    with demo("refuses") as running:
        code, _, err = running.end()
        assert code == 2
        assert err == "tideboard: the moon is not full\n"


def test_a_taken_admin_port_is_one_sentence() -> None:
    with demo("runs") as first:
        first.wait_until_it_answers()
        arguments = [sys.executable, "-c", _SCRIPT, str(first.port), "runs", "0"]
        done = subprocess.run(arguments, cwd=ROOT, text=True, capture_output=True, check=False, env=dict(os.environ))
        assert done.returncode == 2
        taken = f"tideboard: port {first.port} on 127.0.0.1 is taken by another process; TIDEBOARD_ADMIN_PORT chooses another\n"
        assert done.stderr == taken


def test_who_fails_ends_with_its_error_in_the_log() -> None:
    with demo("fails") as running:
        code, out, err = running.end()
        assert code == 1
        assert "ValueError: no" in err
        assert "stopped" in out


def test_who_ends_by_itself_has_succeeded() -> None:
    with demo("ends") as running:
        assert running.end()[0] == 0


def _until_started(running: Demo) -> None:
    while running.get("/readyz")[1] == "starting\n":
        time.sleep(0.02)


def _until_said(running: Demo, line: str) -> None:
    assert running.process.stdout is not None
    while (said := running.process.stdout.readline()) != f"{line}\n":
        assert said, "it ended"
