"""The opening handshake of RFC 6455, the server's side, as pure functions: a request's bytes in, an answer's bytes out."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from services.gateway.deflate import ExtensionsError, negotiate

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = "13"


@dataclass(frozen=True, slots=True)
class Request:
    """headers: lower-case name -> values, in order."""

    method: str
    path: str
    query: str
    headers: dict[str, list[str]]

    def one(self, name: str) -> str:
        """The value of a header that may be there once; empty where it is missing."""
        return self.headers.get(name, [""])[0]

    def words(self, name: str) -> list[str]:
        """The elements of a header that is a list."""
        return [word for line in self.headers.get(name, ()) for part in line.split(",") if (word := part.strip())]


class RefusedError(Exception):
    """The request is no opening handshake that this server takes."""

    def __init__(self, status: HTTPStatus, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    def answer(self) -> bytes:
        body = f"{self.reason}\n".encode()
        fields = [
            *self.headers,
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        return _head(self.status, fields) + body


def parse(data: bytes) -> Request:
    """The request in these bytes, which a server has parsed before and put together again: they are well formed."""
    head, _, _ = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    if "://" in target.partition("?")[0]:
        # RFC 9112 3.2.2: "a server MUST accept the absolute-form in requests"; a proxy may send it.
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    return Request(method, path, query, headers)


@dataclass(frozen=True, slots=True)
class Accepted:
    """answer: the 101. subprotocol: the one that was agreed on, empty where none was. deflated: permessage-deflate was."""

    answer: bytes
    subprotocol: str
    deflated: bool


def accept(request: Request, subprotocols: Sequence[str]) -> Accepted:
    """RefusedError where the request is no handshake. Who may connect is the business of `access`. subprotocols: ours, best first."""
    if request.method != "GET":
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "a WebSocket is opened with GET", [("Allow", "GET")])
    # RFC 9112 3.2: a server "MUST respond with a 400" to a request "that lacks a Host header field" or has more than one.
    if len(request.headers.get("host", ())) != 1:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a request names one host")
    if request.headers.get("sec-websocket-version") != [_VERSION]:
        # 4.2.2: "an |Sec-WebSocket-Version| header field indicating the version(s) the server is capable of understanding"
        raise RefusedError(
            HTTPStatus.UPGRADE_REQUIRED, "only WebSocket version 13 is spoken here", [("Sec-WebSocket-Version", _VERSION)]
        )
    key = _key(request)
    offered = request.words("sec-websocket-protocol")
    agreed = next((name for name in subprotocols if name in offered), "")
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_value(key))]
    if agreed:
        fields.append(("Sec-WebSocket-Protocol", agreed))
    extensions = _extensions(request)
    if extensions:
        fields.append(("Sec-WebSocket-Extensions", extensions))
    return Accepted(_head(HTTPStatus.SWITCHING_PROTOCOLS, fields), agreed, deflated=bool(extensions))


def accept_value(key: str) -> str:
    """RFC 6455 4.2.2: base64 of the SHA-1 of the key "concatenated with the string 258EAFA5-..."."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def _key(request: Request) -> str:
    keys = request.headers.get("sec-websocket-key", [])
    try:
        # 4.1: "a nonce consisting of a randomly selected 16-byte value that has been base64-encoded"
        if len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16:
            return keys[0]
    except ValueError:  # not base64, or not even ASCII
        pass
    raise RefusedError(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key is missing or is not 16 bytes in base64")


def _extensions(request: Request) -> str:
    try:
        return negotiate(request.headers.get("sec-websocket-extensions", ()))
    except ExtensionsError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None


def _head(status: HTTPStatus, fields: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")
