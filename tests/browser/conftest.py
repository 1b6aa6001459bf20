"""Chromium, a running Tideboard for each module, and pages that nothing may go wrong in."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.system import System
from tests.browser.watching import Watched
from tests.servers import ROOT

Open = Callable[..., Watched]

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "there is no Chromium here; `make test` installs it"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Everything, started; its folder holds no dashboard yet."""
    yield from running(tmp_path_factory.mktemp("system"))


def running(folder: Path) -> Iterator[System]:
    assert (ROOT / "frontend" / "dist" / "index.html").exists(), "the wall is not built; `make build` builds it"
    started = System(folder)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def visit(browser: Browser, system: System) -> Iterator[Open]:
    """visit(path, before=called with the page first, **options of the context): a page of the running system.

    At the end nothing must have gone wrong in any of them.
    """
    pages: list[Watched] = []

    def opened(path: str, before: Callable[[Watched], None] = lambda _: None, **options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options})
        context.set_default_timeout(15_000)
        watched = Watched(context)
        pages.append(watched)
        before(watched)
        watched.page.goto(system.url(path))
        return watched

    yield opened
    problems = [problem for watched in pages for problem in watched.problems()]
    for watched in pages:
        watched.page.context.close()
    assert not problems, problems
