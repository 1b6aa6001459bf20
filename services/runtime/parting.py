"""uvicorn's HTTP protocol, at ease with clients that go or say nonsense while they are being answered.

uvicorn hears of a connection's end a turn of the loop after uvloop knows it, and whoever answers in between gets an
exception; and what it says to a malformed request it says into the middle of the answer to the one before.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class PartingProtocol(HttpToolsProtocol):
    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not isinstance(cycle.transport, _Outlet):
            cycle.transport = _Outlet(cycle.transport)  # type: ignore[assignment]  # as much of one as it uses

    def send_400_response(self, msg: str) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.close()
        else:
            super().send_400_response(msg)


class _Outlet:
    """A transport for one answer: what is written after the end is thrown away."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: Any) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()
