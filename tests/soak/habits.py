"""How viewers come, behave and go. Each is a short life on one connection, as a protocol of asyncio: no task of its own.

A habit is what it does; how long it stays, the crowd says.
"""

import asyncio
import json
import random
from typing import Any, Final

from tests.audience.connection import masked

TEXT: Final = 0x1
CLOSE: Final = 0x8
SLOW_BYTES: Final = 2_048
PANEL: Final = "cpu"


class Life(asyncio.Protocol):
    """A connection that says something at first, and something more when it is let in. reads: how often it heard something."""

    hello = b""

    def __init__(self, dashboard: str, chance: random.Random) -> None:
        self.dashboard = dashboard
        self.chance = chance
        self.reads = 0
        self.gone = False
        self.refused = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.hello.replace(b"DASHBOARD", self.dashboard.encode()))

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        if self.reads == 1:
            self.refused = not data.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200"))
            self.begin()
        else:
            self.more()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True

    def begin(self) -> None:
        """It has been let in."""

    def more(self) -> None:
        """Something else came."""

    def leave(self) -> None:
        """Go, in order or not."""
        self.transport.close()

    def say(self, message: dict[str, Any]) -> None:
        self.transport.write(masked(TEXT, json.dumps(message).encode()))


def _upgrade(path: bytes, *fields: bytes) -> bytes:
    head = [b"GET " + path + b" HTTP/1.1", b"Host: 127.0.0.1", b"Upgrade: websocket", b"Connection: Upgrade"]
    key = [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13"]
    return b"\r\n".join([*head, *key, *fields, b"", b""])


_LIVE: Final = b"/api/v1/live"
_PROTOCOL: Final = b"Sec-WebSocket-Protocol: tideboard.v1.json"
_DEFLATE: Final = b"Sec-WebSocket-Extensions: permessage-deflate"


class Watcher(Life):
    """Subscribes and reads, and closes as it should."""

    hello = _upgrade(_LIVE, _PROTOCOL)

    def begin(self) -> None:
        self.say({"type": "subscribe", "dashboard": self.dashboard, "hz": self.chance.choice((20, 10, 5, 2, 1, 0))})

    def leave(self) -> None:
        self.transport.write(masked(CLOSE, (1000).to_bytes(2, "big")))
        self.transport.close()


class Compressed(Watcher):
    hello = _upgrade(_LIVE, _PROTOCOL, _DEFLATE)


class Fickle(Watcher):
    """Changes its rate, its dashboard and its mind with whatever it hears."""

    def more(self) -> None:
        match self.chance.randrange(8):
            case 0:
                self.say({"type": "rate", "hz": self.chance.choice((20, 10, 5, 2, 1, 0))})
            case 1:
                self.say({"type": "unsubscribe", "dashboard": self.dashboard})
            case 2:
                self.say({"type": "subscribe", "dashboard": self.dashboard, "since": {"epoch": "e1", "versions": {}}})
            case 3:
                self.say({"type": "ping"})


class Rude(Compressed):
    """Resets the connection in the middle of a frame."""

    def leave(self) -> None:
        self.transport.write(masked(TEXT, b"x" * 100)[:20])
        self.transport.abort()


class Asleep(Compressed):
    """Reads nothing for most of its life, and a little now and then."""

    def begin(self) -> None:
        super().begin()
        self.transport.pause_reading()

    def wake(self) -> None:
        if not self.gone and not self.transport.is_closing():
            self.transport.resume_reading()

    def more(self) -> None:
        self.transport.pause_reading()


class Listener(Life):
    """Server-sent events."""

    hello = b"GET /api/v1/dashboards/DASHBOARD/events?hz=5 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    def leave(self) -> None:
        self.transport.abort()


class Plotter(Life):
    hello = _upgrade(b"/api/v1/plotly?dashboard=DASHBOARD&panel=" + PANEL.encode())


class Reader(Life):
    """Asks for a snapshot, and again as soon as it has it."""

    hello = b"GET /api/v1/dashboards/DASHBOARD/snapshot HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    def more(self) -> None:
        if self.reads % 10 == 0:
            self.transport.write(self.hello.replace(b"DASHBOARD", self.dashboard.encode()))


class Halting(Life):
    """Never says what it wants."""

    hello = b"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: web"

    def data_received(self, data: bytes) -> None:
        """It is told to go at some time."""


class Wrong(Watcher):
    """Breaks the protocol: it is closed."""

    def begin(self) -> None:
        self.transport.write(b"\xff\xff\xff\xff")


HABITS: Final[tuple[type[Life], ...]] = (
    Watcher, Watcher, Compressed, Compressed, Fickle, Rude, Asleep, Listener, Plotter, Reader, Halting, Wrong,
)  # fmt: skip
