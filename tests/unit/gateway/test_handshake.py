from http import HTTPStatus

import pytest

from services.gateway.handshake import RefusedError, accept, accept_value, parse

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "host": "tide.example:8080",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": KEY,
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "other, tideboard.v1.json",
}
OURS = ("tideboard.v1.json",)


def request(method: str = "GET", target: str = "/api/v1/live", **changed: str | None) -> bytes:
    fields = {**GOOD, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in fields.items() if value is not None),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")


def test_the_example_of_the_rfc_is_answered_as_in_the_rfc() -> None:
    assert accept_value(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_good_request_is_accepted_with_our_subprotocol() -> None:
    accepted = accept(parse(request()), OURS)
    head = accepted.answer.decode().split("\r\n")
    assert (accepted.subprotocol, accepted.deflated) == ("tideboard.v1.json", False)
    assert head[0] == "HTTP/1.1 101 Switching Protocols"
    assert set(head[1:]) >= {"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Protocol: tideboard.v1.json"}
    assert accepted.answer.endswith(b"\r\n\r\n")
    assert b"Extensions" not in accepted.answer


def test_path_and_query_are_told_apart() -> None:
    parsed = parse(request(target="/api/v1/plotly?dashboard=host&panel=a%20b"))
    assert (parsed.path, parsed.query) == ("/api/v1/plotly", "dashboard=host&panel=a%20b")


@pytest.mark.parametrize("target", ["http://tide.example/api/v1/live?a=http://b/c", "/api/v1/live?a=http://b/c"])
def test_an_address_may_stand_for_its_path(target: str) -> None:
    parsed = parse(request(target=target))
    assert (parsed.path, parsed.query) == ("/api/v1/live", "a=http://b/c")


def test_a_subprotocol_that_nobody_knows_is_not_agreed_on() -> None:
    accepted = accept(parse(request(sec_websocket_protocol="chat")), OURS)
    assert accepted.subprotocol == ""
    assert b"Sec-WebSocket-Protocol" not in accepted.answer


def test_an_offer_to_compress_is_taken() -> None:
    accepted = accept(parse(request(sec_websocket_extensions="permessage-deflate; client_max_window_bits")), OURS)
    answer = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
    assert answer in accepted.answer
    assert accepted.deflated


REFUSED: dict[str, tuple[bytes, HTTPStatus]] = {
    "not GET": (request("POST"), HTTPStatus.METHOD_NOT_ALLOWED),
    "another version": (request(sec_websocket_version="8"), HTTPStatus.UPGRADE_REQUIRED),
    "no version": (request(sec_websocket_version=None), HTTPStatus.UPGRADE_REQUIRED),
    "two versions": (request(sec_websocket_version="13\r\nsec-websocket-version: 13"), HTTPStatus.UPGRADE_REQUIRED),
    "a list of versions": (request(sec_websocket_version="13, 8"), HTTPStatus.UPGRADE_REQUIRED),
    "no host": (request(host=None), HTTPStatus.BAD_REQUEST),
    "two hosts": (request(host="a\r\nhost: a"), HTTPStatus.BAD_REQUEST),
    "two keys": (request(sec_websocket_key=f"{KEY}\r\nsec-websocket-key: {KEY}"), HTTPStatus.BAD_REQUEST),
    "a long key": (request(sec_websocket_key=f"{KEY[:-2]}AA"), HTTPStatus.BAD_REQUEST),
    "no key": (request(sec_websocket_key=None), HTTPStatus.BAD_REQUEST),
    "a short key": (request(sec_websocket_key="YWJj"), HTTPStatus.BAD_REQUEST),
    "a key that is not base64": (request(sec_websocket_key="!" * 24), HTTPStatus.BAD_REQUEST),
    "a key that is not ASCII": (request(sec_websocket_key="é" * 24), HTTPStatus.BAD_REQUEST),
    "malformed extensions": (request(sec_websocket_extensions="permessage-deflate; =1"), HTTPStatus.BAD_REQUEST),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_handshake_for_us_is_refused_with_a_status(data: bytes, status: HTTPStatus) -> None:
    with pytest.raises(RefusedError) as caught:
        accept(parse(data), OURS)
    answer = caught.value.answer()
    assert caught.value.status == status
    assert answer.startswith(f"HTTP/1.1 {status.value} ".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_a_refused_version_names_ours() -> None:
    with pytest.raises(RefusedError) as caught:
        accept(parse(request(sec_websocket_version="7")), OURS)
    assert b"Sec-WebSocket-Version: 13" in caught.value.answer()
