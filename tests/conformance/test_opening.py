"""RFC 6455 4.2: the opening handshake, as requests of HTTP."""

import pytest

from tests.conformance.peer import KEY, Answer, Peer, request
from tests.conformance.talk import BYE, asking, text
from tests.gateway_process import GatewayProcess

NOT_ACCEPTED: dict[str, tuple[bytes, int]] = {
    "POST": (request(method="POST", content_length="0"), 405),
    "HEAD": (request(method="HEAD"), 405),
    "another path": (request("/api/v1/nothing"), 404),
    "the path of a page": (request("/"), 404),
    "no version": (request(sec_websocket_version=None), 426),
    "version 8": (request(sec_websocket_version="8"), 426),
    "version 14": (request(sec_websocket_version="14"), 426),
    "a version that is no number": (request(sec_websocket_version="thirteen"), 426),
    "a version in hexadecimal": (request(sec_websocket_version="0x0d"), 426),
    "an empty version": (request(sec_websocket_version=""), 426),
    "two versions in one line": (request(sec_websocket_version="13, 8"), 426),
    "two lines with a version": (request(sec_websocket_version="13\r\nSec-WebSocket-Version: 13"), 426),
    "no key": (request(sec_websocket_key=None), 400),
    "an empty key": (request(sec_websocket_key=""), 400),
    "a key of 15 bytes": (request(sec_websocket_key="AAAAAAAAAAAAAAAAAAAA"), 400),
    "a key of 17 bytes": (request(sec_websocket_key="AAAAAAAAAAAAAAAAAAAAAAA="), 400),
    "a key that is not base64": (request(sec_websocket_key="*" * 24), 400),
    "a key that is not ASCII": (request(sec_websocket_key="é" * 24), 400),
    "a key in two parts": (request(sec_websocket_key="dGhlIHNhbXBs ZSBub25jZQ=="), 400),
    "two keys": (request(sec_websocket_key=f"{KEY}\r\nSec-WebSocket-Key: {KEY}"), 400),
    "no host": (request(host=None), 400),
    "two hosts": (request(host="a\r\nHost: b"), 400),
    "extensions that are malformed": (request(sec_websocket_extensions="permessage-deflate; ="), 400),
    "a page of another host": (request(origin="https://evil.example"), 403),
    "an origin that is no address": (request(origin="http://["), 403),
    "an origin that is none": (request(origin="null"), 403),
    "no upgrade": (request(upgrade=None), 426),
    "another upgrade": (request(upgrade="h2c"), 426),
    "no connection: upgrade": (request(connection="keep-alive"), 426),
    "a header without a colon": (request(x="y\r\nnonsense"), 400),
    "a header with a zero": (request(x="a\0b"), 400),
    "a blank before a colon": (request(**{"x ": "y"}), 400),
    "no request at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), 400),
    "HTTP/1.0": (request(version="HTTP/1.0"), 400),
    "a version of HTTP that has no upgrade": (request(version="HTTP/2.0"), 400),
    "a version of HTTP that is none": (request(version="HTTP/x"), 400),
}


def ask(gateway: GatewayProcess, data: bytes, step: int = 0) -> Answer:
    with Peer(gateway.port, step) as peer:
        return peer.ask(data)


@pytest.mark.parametrize(("data", "status"), NOT_ACCEPTED.values(), ids=NOT_ACCEPTED)
@pytest.mark.parametrize("step", [0, 1], ids=["at once", "byte by byte"])
def test_what_is_no_handshake_for_this_server_is_told_why(gateway: GatewayProcess, data: bytes, status: int, step: int) -> None:
    answer = ask(gateway, data, step)
    assert answer.status == status
    if status == 426 and b"Upgrade: websocket" in data and b"Connection: Upgrade" in data:
        assert answer.headers["sec-websocket-version"] == "13"
    if status == 405:
        assert answer.headers["allow"] == "GET"
    assert answer.body or data.startswith(b"HEAD")


ACCEPTED = {
    "as browsers send it": request(origin="http://127.0.0.1", user_agent="Mozilla/5.0", sec_websocket_extensions="permessage-deflate"),
    "names of headers in capitals": request().replace(b"Sec-WebSocket", b"SEC-WEBSOCKET").replace(b"Upgrade:", b"UPGRADE:"),
    "names of headers in small letters": request().replace(b"Sec-WebSocket", b"sec-websocket").replace(b"Host", b"host"),
    "the value of upgrade in capitals": request(upgrade="WebSocket"),
    "connection as a list": request(connection="keep-alive, Upgrade"),
    "connection in small letters": request(connection="upgrade"),
    "blanks around values": request(sec_websocket_version="  13 \t", sec_websocket_key=f"\t{KEY} "),
    "several subprotocols": request(sec_websocket_protocol="chat, tideboard.v1.json"),
    "subprotocols in two lines": request(sec_websocket_protocol="chat\r\nSec-WebSocket-Protocol: tideboard.v1.json"),
    "empty extensions": request(sec_websocket_extensions=""),
    "a query": request("/api/v1/live?x=1&y=%2F"),
    "an address instead of a path": request("http://127.0.0.1/api/v1/live"),
    "a body of no bytes": request(content_length="0"),
    "a very long header": request(x="y" * 10_000),
}  # fmt: skip


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.parametrize("step", [0, 1], ids=["at once", "byte by byte"])
def test_what_is_a_handshake_opens_a_socket(gateway: GatewayProcess, data: bytes, step: int) -> None:
    with Peer(gateway.port, step) as peer:
        answer = peer.ask(data)
        assert (answer.status, answer.headers["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        assert (answer.headers["upgrade"], answer.headers["connection"]) == ("websocket", "Upgrade")
        assert answer.headers["sec-websocket-protocol"] == "tideboard.v1.json"
        peer.send(text(asking("open")) + BYE)
        assert peer.hear().message["dashboard"] == "open"


def test_a_refused_handshake_is_followed_by_nothing(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        assert peer.ask(request(sec_websocket_version="8")).headers["connection"] == "close"
        assert peer.all() == []
