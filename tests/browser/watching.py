"""A page that is watched while a test uses it: whatever goes wrong in it is noted, and what it said to its viewer is remembered.

A test that causes an outage says which notes belong to it, as patterns for the whole note.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Response, WebSocket

PATIENCE_S = 60.0

_AWAY = r"net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED)"
_API = r"http://127\.0\.0\.1:\d+/api/v1"

# A browser notes by itself when a server is away; no page can keep it from doing so.
GATEWAY_AWAY = (
    r"console: WebSocket connection to 'ws://127\.0\.0\.1:\d+/api/v1/(live|plotly\?\S+)' failed: .*",
    rf"console: Failed to load resource: {_AWAY}",
    rf"request failed: GET {_API}/dashboards\S* {_AWAY}",
    rf"socket: (Error (in connection establishment|during WebSocket handshake): {_AWAY}|Connection closed before receiving a handshake response)",
)
# The registry cannot be read before Valkey is back.
UNAVAILABLE = (
    r"console: Failed to load resource: the server responded with a status of 503 \(Service Unavailable\)",
    rf"answer: 503 GET {_API}/dashboards\S*",
)
# The list cancels the question that is under way when its page is left, and so does a page that asks why it is refused, and then is not.
LEFT = (rf"request failed: GET {_API}/dashboards(/[a-z-]+)? net::ERR_ABORTED",)

_REMEMBER = """
window.said = [];
setInterval(() => {
  const texts = [...document.querySelectorAll(".pill, .banner, .notice")].map((element) => element.textContent.trim());
  const now = texts.join(" | ");
  if (now !== window.said.at(-1)) window.said.push(now);
}, 50);
addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


class Watched:
    """A page in a context of its own. problems: what went wrong that nobody has allowed; sockets: every WebSocket with its frames."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.sockets: list[Frames] = []
        self._notes: list[str] = []
        self._allowed: list[str] = list(LEFT)
        self.page.add_init_script(_REMEMBER)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._note(f"page: {error}"))
        self.page.on(
            "requestfailed", lambda request: self._note(f"request failed: {request.method} {request.url} {request.failure}")
        )
        self.page.on("response", self._answer)
        self.page.on("websocket", self._follow)

    def allow(self, *patterns: str) -> None:
        """Notes that the test itself causes."""
        self._allowed += patterns

    def problems(self) -> list[str]:
        return [note for note in self._notes if not any(re.fullmatch(pattern, note) for pattern in self._allowed)]

    def said(self) -> list[str]:
        """What pill, banner and notice have said since the page was loaded, in order."""
        found: list[str] = self.page.evaluate("window.said")
        return found

    def until(self, check: Callable[[], str], patience_s: float = PATIENCE_S) -> float:
        """Wait until a check finds nothing wrong; how long it took, in seconds. The page lives on meanwhile."""
        begun = time.monotonic()
        while reason := check():
            assert time.monotonic() - begun < patience_s, (
                f"{reason}; the page says {self.said()[-5:]}, problems: {self.problems()}"
            )
            self.page.wait_for_timeout(50)
        return time.monotonic() - begun

    def text(self, selector: str) -> str:
        """What elements say, one after the other."""
        return " ".join(self.page.locator(selector).all_inner_texts())

    def until_text(self, selector: str, wanted: str) -> float:
        """Wait until elements say something."""
        return self.until(lambda: "" if wanted in self.text(selector) else f"{self.text(selector)!r} is not {wanted!r}")

    def until_said(self, pattern: str, since: int = 0, patience_s: float = PATIENCE_S) -> float:
        """Wait until the page has said something, after the first `since` that it said."""
        return self.until(
            lambda: "" if any(re.search(pattern, text) for text in self.said()[since:]) else f"it does not say {pattern!r}",
            patience_s,
        )

    def until_live(self, patience_s: float = PATIENCE_S) -> float:
        """Wait until the pill says that everything is in order."""
        pill = self.page.locator("[data-connection]")
        return self.until(
            lambda: "" if pill.count() and pill.get_attribute("data-connection") == "live" else "the pill is not LIVE",
            patience_s,
        )

    def dashboard(self, name: str) -> dict[str, Any] | None:
        """What the page holds of a dashboard, from its own debug handle; None while it holds nothing."""
        found: dict[str, Any] | None = self.page.evaluate("(name) => window.tideboard?.dashboards[name] ?? null", name)
        return found

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"console: {message.text}")

    def _answer(self, answer: Response) -> None:
        if answer.status >= 400:
            self._note(f"answer: {answer.status} {answer.request.method} {answer.url}")

    def _note(self, text: str) -> None:
        self._notes.append(text)

    def _follow(self, socket: WebSocket) -> None:
        self.sockets.append(Frames(socket))
        socket.on("socketerror", lambda error: self._note(f"socket: {error}"))


class Frames:
    """What went over one WebSocket of a page, decoded, in order. closed: it has ended."""

    def __init__(self, socket: WebSocket) -> None:
        self.url = socket.url
        self.closed = False
        self.sent: list[dict[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        socket.on("close", self._end)
        socket.on("framesent", lambda frame: self.sent.append(json.loads(frame)))
        socket.on("framereceived", lambda frame: self.received.append(json.loads(frame)))

    def _end(self, _: WebSocket) -> None:
        self.closed = True

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The received messages of a type."""
        return [message for message in self.received if message.get("type") == kind]
