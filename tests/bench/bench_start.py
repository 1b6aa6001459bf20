"""How long a warm `make run` takes until a person sees a number, from the command to the first painted value; and how long its end takes."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Final

from playwright.sync_api import Browser, Error, sync_playwright

from services.local.embedded import free_port
from tests.bench.report import Table
from tests.browser.conftest import ARGUMENTS, chromium
from tests.servers import connects
from tests.stack import ROOT

ROUNDS: Final = 3
PATIENCE_S: Final = 60.0
GOAL_S: Final = 6.0


def measure() -> Table:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        _round(browser)  # the wall is built and everything is in the page cache after this
        rounds = [_round(browser) for _ in range(ROUNDS)]
        browser.close()
    rows = [[str(n), *(f"{seconds:.1f} s" for seconds in found)] for n, found in enumerate(rounds, 1)]
    text = (
        "`make run` on a machine that is set up, on the embedded servers, from the command on. The page of this machine's dashboard is opened in Chromium,"
        f" which runs already, as soon as the port takes connections. Goal: the first value is painted within {GOAL_S:.0f} s. The end is Ctrl-C's."
    )
    return Table("Warm start", text, ["round", "port open", "first painted value", "ended after"], rows)


def _round(browser: Browser) -> tuple[float, float, float]:
    """Seconds from the command until the port is open and until a value is painted; and from Ctrl-C until all has ended."""
    port = free_port()
    environ = {**os.environ, "TIDEBOARD_GATEWAY_PORT": str(port), "TIDEBOARD_INGESTOR_PORT": str(free_port())}
    began = time.monotonic()
    process = subprocess.Popen(["make", "run"], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _until_open(port)
        opened = time.monotonic() - began
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/d/host")
        page.wait_for_selector("[data-value]", timeout=PATIENCE_S * 1000)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        painted = time.monotonic() - began
        with suppress(Error):
            page.close()
    finally:
        ending = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE_S)
    return opened, painted, time.monotonic() - ending


def _until_open(port: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while not connects(port):
        assert time.monotonic() < until, f"nothing serves port {port}"
        time.sleep(0.05)
