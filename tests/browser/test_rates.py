"""A page that nobody sees costs nothing, and shows everything when it is seen again."""

import shutil
from collections.abc import Iterator

import pytest

from tests.browser.conftest import Open
from tests.browser.system import System
from tests.browser.watching import Watched
from tests.servers import ROOT

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def host(system: System, visit: Open) -> Iterator[Watched]:
    shutil.copy(ROOT / "dashboards" / "host.yaml", system.dashboards)
    page = visit("/d/host")
    page.until_live()
    yield page


def test_a_hidden_page_is_paused_and_has_everything_again_when_it_is_shown(system: System, host: Watched) -> None:
    (socket,) = host.sockets

    def rates() -> dict[str, int]:
        found: dict[str, int] = system.status("gateway")["watched"]["host"]["rates"]
        return found

    def values(since: int) -> int:
        return sum(bool(message["views"]) for message in socket.received[since:] if message["type"] == "delta")

    assert rates() == {"10": 1}
    host.page.evaluate(HIDE, True)
    host.until(lambda: "" if rates() == {"0": 1} else f"it is not paused: {rates()}")
    paused = len(socket.received)  # what was sent before may still come; then signs of life
    host.until(
        lambda: (
            "" if [message for message in socket.received[paused:] if not message.get("views", [0])] else "no sign of life came"
        )
    )
    heard = len(socket.received)
    host.page.wait_for_timeout(4_000)  # longer than a client bears silence
    assert values(heard) == 0
    assert len(socket.received) - heard >= 3, "signs of life go on"
    before = host.dashboard("host")
    host.page.evaluate(HIDE, False)
    host.until(lambda: "" if rates() == {"10": 1} else f"it is not live: {rates()}")
    host.until_live()
    host.until(lambda: "" if values(heard) else "no values came")
    assert host.dashboard("host") != before
    assert len(host.sockets) == 1, "it is the same socket"
