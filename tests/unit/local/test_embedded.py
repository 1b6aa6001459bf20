"""The embedded servers as commands: they serve, and they end with their parent."""

import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from services.local import embedded
from tests.servers import ROOT, Broker, Server, Valkey, running

_PARENT = textwrap.dedent("""
    import os, subprocess, sys, time
    from services.local import embedded
    port = embedded.free_port()
    child = subprocess.Popen(embedded.{command}(port, os.getpid()), stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(60)
""")


@pytest.mark.parametrize("command", ["valkey_command", "broker_command"])
def test_a_server_ends_when_its_parent_is_killed(command: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT.format(command=command)], cwd=ROOT, stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    assert not psutil.wait_procs([server], timeout=5)[1]


def test_a_tethered_command_does_not_start_when_its_parent_is_gone_already() -> None:
    somebody_else = os.getppid()
    done = subprocess.run(embedded.tethered(somebody_else, "/bin/echo", "started"), cwd=ROOT, capture_output=True, check=False)
    assert done.stdout == b""


@pytest.mark.parametrize("kind", [Valkey, Broker])
async def test_a_server_answers_until_it_is_killed(kind: type[Server]) -> None:
    answers = {Valkey: embedded.valkey_answers, Broker: embedded.broker_answers}[kind]
    with running(kind()) as server:  # type: ignore[call-arg]
        assert await answers(server.port)
        assert embedded.port_taken(server.port)
        server.kill()
        assert not await answers(server.port)
        server.start()
        assert await answers(server.port)
