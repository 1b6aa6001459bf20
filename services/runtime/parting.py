"""uvicorn's HTTP protocol, at ease with clients that go or say nonsense while they are being answered.

When a connection ends, uvicorn tells the request that came last; who still answers one before it, of those that a client has
sent without waiting, writes to a closed transport, and gets an exception of uvloop's. And what uvicorn says to a malformed
request it says into the middle of the answer to the one before.
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
