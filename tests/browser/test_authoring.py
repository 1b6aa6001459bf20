"""Writing dashboards with a page open: what is saved shows, what is broken is told, and no page is ever blank."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Open, running
from tests.browser.source import Source
from tests.browser.system import System
from tests.browser.watching import GATEWAY_AWAY, UNAVAILABLE, Watched
from tests.servers import ROOT

DIST = ROOT / "frontend" / "dist"
NOT_FOUND = (
    r"answer: 404 GET http://127\.0\.0\.1:\d+/api/v1/dashboards/\S+",
    r"console: Failed to load resource: the server responded with a status of 404 \(Not Found\)",
)
STAT: dict[str, Any] = {"id": "level", "type": "stat", "title": "Level", "query": {"metric": "level", "fn": "last"}}


@pytest.fixture(autouse=True)
def level(system: System) -> Iterator[None]:
    """Somebody posts a level four times a second."""
    with Source(system, lambda _: [{"metric": "level", "value": 7.5}], 250) as source:
        source.on()
        yield


def test_a_saved_file_shows_in_an_open_page_without_a_reload(system: System, visit: Open) -> None:
    system.write("edited", {"title": "Before", "panels": [STAT]})
    page = visit("/d/edited")
    page.until_text("[data-panel=level] .digits", "7.50")
    page.page.evaluate("window.sameDocument = true")
    system.write("edited", {"title": "After", "panels": [{**STAT, "title": "Height", "unit": "celsius"}, {**STAT, "id": "second", "type": "gauge", "max": 10}]})  # fmt: skip
    took = page.until_text("h1", "After")
    page.until_text("[data-panel=level] h2", "Height")
    page.until_text("[data-panel=level] .unit", "°C")
    page.until_text("[data-panel=second] .digits", "7.50")
    assert page.page.evaluate("window.sameDocument") is True
    print(f"\nan edit showed after {took:.2f} s")


def test_a_new_query_is_filled_from_the_past(system: System, visit: Open) -> None:
    now = int(time.time() * 1000)
    system.post([{"metric": "kept", "time": now - 60_000 + i * 1000, "value": i} for i in range(50)])
    system.write("filled", {"panels": [STAT]})
    page = visit("/d/filled")
    page.until_text("[data-panel=level] .digits", "7.50")
    system.write("filled", {"panels": [STAT, {"id": "past", "type": "timeseries", "query": {"metric": "kept", "fn": "max"}}]})

    def missing() -> str:
        views = (page.dashboard("filled") or {"views": {}})["views"].values()
        cells = {value for view in views for group in view["groups"] for _, value in group["cells"]}
        return "" if cells >= set(range(50)) else f"only {len(cells)} cells"

    page.until(missing)


def test_a_broken_file_keeps_its_last_good_version_and_the_list_tells_where(system: System, visit: Open) -> None:
    system.write("fragile", {"title": "Fragile", "panels": [STAT]})
    page, overview = visit("/d/fragile"), visit("/")
    page.until_text("[data-panel=level] .digits", "7.50")
    good = (system.dashboards / "fragile.yaml").read_text()
    system.write_text("fragile", good.replace("fn: last", "fn: latest"))
    card = "[data-dashboard=fragile]"
    took = overview.until_text(card, "'latest' is not a function; expected one of avg, sum")
    print(f"\nthe list told of the fault after {took:.2f} s")
    line = 1 + next(i for i, text in enumerate(good.splitlines()) if "fn: last" in text)
    overview.until_text(f"{card} .place", f"dashboards/fragile.yaml:{line}")
    overview.until_text(f"{card} .place", "spec.panels[0].query.fn")
    overview.until_text(card, "the last good one is shown")
    before = page.page.locator("[data-panel=level] [data-time]").get_attribute("data-time")
    page.until(
        lambda: (
            ""
            if page.page.locator("[data-panel=level] [data-time]").get_attribute("data-time") != before
            else "it stands still"
        )
    )
    system.write_text("fragile", good.replace("Fragile", "Mended"))
    page.until_text("h1", "Mended")
    overview.until(lambda: "" if overview.page.locator(f"{card} .fault").count() == 0 else "the fault is still shown")


def test_a_dashboard_that_never_was_good_says_what_is_wrong(system: System, visit: Open) -> None:
    system.write("hopeless", {"panels": [{**STAT, "type": "pie"}]})
    page = visit("/d/hopeless")
    page.until_text(".notice", 'The dashboard "hopeless" is broken')
    page.until_text(".notice", "'pie' is not a panel type; expected one of timeseries")
    page.until_text(".notice", "spec.panels[0].type")
    system.write("hopeless", {"panels": [STAT]})
    page.until_text("[data-panel=level] .digits", "7.50")


def test_an_unknown_dashboard_says_so_and_shows_when_it_is_written(system: System, visit: Open) -> None:
    page = visit("/d/later")
    page.until_text(".notice", 'There is no dashboard "later"')
    page.page.wait_for_timeout(4_000)  # longer than the silence after which a client reconnects
    assert len(page.sockets) == 1, "a missing dashboard made it reconnect"
    system.write("later", {"title": "Here now", "panels": [STAT]})
    page.until_text("[data-panel=level] .digits", "7.50")


def test_a_deleted_dashboard_says_so_and_leaves_the_list(system: System, visit: Open) -> None:
    path = system.write("doomed", {"title": "Doomed", "panels": [STAT]})
    page, overview = visit("/d/doomed"), visit("/")
    page.until_text("[data-panel=level] .digits", "7.50")
    overview.until_text(".cards", "Doomed")
    path.unlink()
    page.until_text(".notice", 'There is no dashboard "doomed"')
    overview.until(lambda: "" if "Doomed" not in overview.text(".cards") else "it is still listed")


def test_an_empty_dashboard_and_one_without_data_say_so(system: System, visit: Open) -> None:
    system.write("empty", {"panels": []})
    system.write("dataless", {"panels": [{**STAT, "query": {"metric": "nobody_posts_this"}}]})
    visit("/d/empty").until_text(".notice", "This dashboard has no panels")
    dataless = visit("/d/dataless")
    dataless.until_text("[data-panel=level]", "No data yet")
    dataless.until_text("[data-panel=level]", "waiting for nobody_posts_this")


def test_a_page_that_is_none_says_so(visit: Open) -> None:
    page = visit("/")
    page.page.evaluate("history.pushState(null, '', '/nowhere'); dispatchEvent(new PopStateEvent('popstate'))")
    page.until_text(".notice", "There is no such page")


def test_pages_whose_server_is_away_at_load_say_so_and_come_alive_by_themselves(browser: Browser, tmp_path: Path) -> None:
    late = System(tmp_path)
    late.write("first", {"title": "First", "panels": [STAT]})
    context = browser.new_context()
    pages = {path: Watched(context) for path in ("/", "/d/first", "/plotly/first")}
    with serving_files_only(late.gateway):
        for path, page in pages.items():
            page.allow(*GATEWAY_AWAY, *NOT_FOUND, *UNAVAILABLE)
            page.page.goto(late.url(path))
    for page in pages.values():
        page.until_text("body", "Tideboard does not answer")
    with running(late):
        pages["/"].until_text(".cards", "First")
        pages["/d/first"].until_text("[data-panel=level]", "No data yet")
        pages["/plotly/first"].page.wait_for_selector("[data-panel=level] .main-svg")
        assert [page.problems() for page in pages.values()] == [[], [], []]
        context.close()


@contextmanager
def serving_files_only(port: int) -> Iterator[None]:
    """A server that has the wall's files and answers nothing else."""
    server = ThreadingHTTPServer(("127.0.0.1", port), FilesOnly)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class FilesOnly(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            self.close_connection = True
        else:
            super().do_GET()

    def translate_path(self, path: str) -> str:
        page = "plotly.html" if path.startswith("/plotly/") else "index.html"
        return str(DIST / (path.lstrip("/") if path.startswith("/assets/") else page))

    def log_message(self, *_: object) -> None:
        pass
