"""uvicorn's HTTP protocol with bounds that it lacks: a deadline for requests to come in, a limit of their heads, an end of connections.

There is no timer per connection: whose request has not come in yet stands in one dictionary, the oldest first, and who does not
read its answer in another; `sweep` cuts those that are late. A WebSocket leaves both with its upgrade.
"""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from services.runtime.parting import PartingProtocol

MAX_HEAD_BYTES: Final = 65_536
MAX_STALL_S: Final = 30.0  # in which a reader takes nothing at all of an answer
SPARE_FILES: Final = 64  # for everything that is no connection of this server's
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\n"
    b"retry-after: 5\r\nconnection: close\r\n\r\ntoo many connections\n"
)
_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 25\r\n"
    b"connection: close\r\n\r\nthe head is far too long\n"
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """request_s: within which a request has to come in, counted from the connection or its first byte. keep_alive_s: idle between two.

    requests: on one connection, 0: any number. connections: at a time, of any kind, 0: as many as this process may have files.
    """

    request_s: float
    keep_alive_s: float
    requests: int
    connections: int = 0

    @property
    def most_connections(self) -> int:
        """One more could not be accepted, and could not be told so, where no file is left."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(1, files - SPARE_FILES) if files != resource.RLIM_INFINITY else 0
        return min(self.connections or most, most or self.connections)


class Arrivals:
    """The connections of one server that are waited for. clock: monotonic seconds. last: no connection takes another request."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float]) -> None:
        self.bounds = bounds
        self.last = False
        self.upgraded: Callable[[float], None] = lambda _: None  # hears after how many seconds a connection became a WebSocket
        self.refused: Callable[[], None] = lambda: None  # hears of every connection that was one too many
        self.most = bounds.most_connections
        self._clock = clock
        self._since: dict[BoundedProtocol, float] = {}
        self._stalled: dict[BoundedProtocol, tuple[float, int]] = {}  # since when so many bytes have been waiting

    def protocol(self) -> type[PartingProtocol]:
        """The class for uvicorn."""
        return type("BoundedHttp", (BoundedProtocol,), {"arrivals": self})

    def __len__(self) -> int:
        return len(self._since)

    def begin(self, connection: "BoundedProtocol") -> None:
        self._since.setdefault(connection, self._clock())

    def end(self, connection: "BoundedProtocol") -> float:
        """How many seconds it has taken."""
        now = self._clock()
        return now - self._since.pop(connection, now)

    def stall(self, connection: "BoundedProtocol") -> None:
        """It does not take all that is written to it."""
        self._stalled[connection] = self._clock(), connection.transport.get_write_buffer_size()

    def go_on(self, connection: "BoundedProtocol") -> None:
        """It has taken everything, or is gone."""
        self._stalled.pop(connection, None)

    def sweep(self) -> int:
        """Cut who is late; how many that were."""
        return self._sweep_arrivals() + self._sweep_stalled()

    def _sweep_arrivals(self) -> int:
        latest = self._clock() - self.bounds.request_s
        late = []
        for connection, since in self._since.items():
            if since > latest:
                break
            late.append(connection)
        for connection in late:
            self.end(connection)
            connection.transport.abort()
        return len(late)

    def _sweep_stalled(self) -> int:
        now, cut = self._clock(), 0
        for connection, (since, bytes_) in list(self._stalled.items()):
            waiting = connection.transport.get_write_buffer_size()
            if waiting < bytes_:
                self._stalled[connection] = now, waiting
            elif now - since > MAX_STALL_S:
                self.go_on(connection)
                connection.transport.abort()
                cut += 1
        return cut


class BoundedProtocol(PartingProtocol):
    arrivals: Arrivals

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head = 0  # bytes since the head began
        self._in_head = True
        self._requests = 0
        self._took_s = 0.0  # until the last request was there

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # an event stream wants to know of every byte that is not taken yet
        self.arrivals.begin(self)
        if self.arrivals.most and len(self.connections) > self.arrivals.most:
            self.arrivals.refused()
            transport.write(_FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.arrivals.end(self)
        self.arrivals.go_on(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.arrivals.stall(self)
        super().pause_writing()

    def resume_writing(self) -> None:
        self.arrivals.go_on(self)
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        self.arrivals.begin(self)  # uvicorn's timer of idle connections stops at any byte, also at one that begins no request
        if self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES + len(data):  # what came before these bytes has been only head
                self.transport.write(_TOO_LONG)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self.arrivals.begin(self)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._requests += 1
        super().on_headers_complete()
        most = self.arrivals.bounds.requests
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and (self.arrivals.last or (most and self._requests >= most)):
            cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._took_s = self.arrivals.end(self)
        self._in_head, self._head = True, 0  # of the next one
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self.arrivals.upgraded(self._took_s + self.arrivals.end(self))
        self.arrivals.go_on(self)
        if self.parser.get_http_version() == "1.1":
            super().handle_websocket_upgrade()
            self.parser = None  # type: ignore[assignment]  # it holds us as we hold it: both would wait for a collection
        else:  # RFC 6455 4.2.1: "An HTTP/1.1 or higher GET request"; what is higher has no Upgrade
            self.send_400_response("a WebSocket is opened with HTTP/1.1")
