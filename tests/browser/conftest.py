"""Chromium, a running Tideboard, and pages that nothing may go wrong in."""

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.system import System
from tests.browser.watching import Watched
from tests.servers import ROOT

Open = Callable[..., Watched]
_LOG_BYTES = 20_000

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium() -> str:
    """The machine's own browser."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "there is no Chromium here; `make test` installs it"
    return program


@contextmanager
def launched() -> Iterator[Browser]:
    """That browser, running."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield found
        found.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the system has said lately stands in the report of a test that failed."""
    report = yield
    system = getattr(item, "funcargs", {}).get("system")
    if report.failed and isinstance(system, System):
        report.sections.append(("log of the system", system.log.read_text()[-_LOG_BYTES:]))
    return report


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Everything, started once; every test writes the dashboards that it needs, and leaves everything up."""
    with running(System(tmp_path_factory.mktemp("system"))) as started:
        yield started


@contextmanager
def running(system: System) -> Iterator[System]:
    """A system that runs for as long as the block lasts."""
    assert (ROOT / "frontend" / "dist" / "index.html").exists(), "the wall is not built; `make build` builds it"
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest.fixture
def visit(browser: Browser, system: System) -> Iterator[Open]:
    """visit(path, before=called with the page first, **options of the context): a page of the running system, or of another where the whole address is given.

    At the end nothing must have gone wrong in any of them.
    """
    pages: list[Watched] = []

    def opened(path: str, before: Callable[[Watched], None] = lambda _: None, **options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options})
        context.set_default_timeout(15_000)
        watched = Watched(context)
        pages.append(watched)
        before(watched)
        watched.page.goto(path if path.startswith("http") else system.url(path))
        return watched

    yield opened
    problems = [problem for watched in pages for problem in watched.problems()]
    for watched in pages:
        watched.page.context.close()
    assert not problems, problems
