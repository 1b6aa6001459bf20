"""The gateway seen through an independent client, the library `websockets`, with and without permessage-deflate in the forms that it offers.

Chromium, the other one, is in tests/browser/test_compression.py.
"""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.typing import Subprotocol

from tests.conformance.talk import LARGE, asking
from tests.gateway_process import GatewayProcess

OFFERS: dict[str, tuple[dict[str, Any], bool]] = {
    "no compression": ({"compression": None}, False),
    "as it comes": ({}, True),
    "nothing but the name": ({"extensions": [ClientPerMessageDeflateFactory()]}, True),
    "no context takeover": (
        {"extensions": [ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)]},
        True,
    ),
    "the largest windows": (
        {"extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=15, client_max_window_bits=15)]},
        True,
    ),
    "the smallest window of the client's": ({"extensions": [ClientPerMessageDeflateFactory(client_max_window_bits=9)]}, True),
    "a window that the server does not use": (
        {"extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=9)]},
        False,
    ),
}


def joining(gateway: GatewayProcess, **how: Any) -> connect:
    how = {"compression": None, **how} if "extensions" in how else how
    return connect(
        f"ws://127.0.0.1:{gateway.port}/api/v1/live", subprotocols=[Subprotocol("tideboard.v1.json")], max_size=None, **how
    )


async def hear(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while (message := json.loads(await asyncio.wait_for(socket.recv(), 10)))["type"] != kind:
        pass
    found: dict[str, Any] = message
    return found


@pytest.mark.parametrize(("how", "compressed"), OFFERS.values(), ids=OFFERS)
async def test_a_client_gets_what_it_asks_for(gateway: GatewayProcess, how: dict[str, Any], compressed: bool) -> None:
    async with joining(gateway, **how) as socket:
        assert [type(extension) for extension in socket.protocol.extensions] == [PerMessageDeflate] * compressed
        for size in (0, 300, 8_192):  # compressed by the client, too
            await socket.send(asking(f"none-{size}", size), text=True)
            assert (await hear(socket, "error"))["dashboard"] == f"none-{size}"
        await socket.send(json.dumps({"type": "subscribe", "dashboard": LARGE}))
        snapshot = await hear(socket, "snapshot")
        assert sum(len(groups) for view in snapshot["views"] for _, groups, _ in view["cells"]) > 10_000
        await socket.ping()
        await socket.send([b'{"type":"subscribe",', b'"dashboard":', b'"in-parts"}'], text=True)
        assert (await hear(socket, "error"))["dashboard"] == "in-parts"
    assert (socket.close_code, socket.close_reason) == (1000, "")


@pytest.mark.parametrize("how", [{"compression": None}, {}], ids=["plain", "deflated"])
@pytest.mark.parametrize(("said", "code"), [("x" * 8_193, 1009), (b"bytes", 4500), (" " * 1_000_000, 1009)])
async def test_a_client_is_told_why_its_socket_was_closed(
    gateway: GatewayProcess, how: dict[str, Any], said: str | bytes, code: int
) -> None:
    async with joining(gateway, **how) as socket:
        with pytest.raises(ConnectionClosedError):
            await socket.send(said)
            await hear(socket, "nothing")
        assert socket.close_code == code
        assert socket.close_reason
