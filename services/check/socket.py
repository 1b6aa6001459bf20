"""One WebSocket to a gateway, blocking, with a deadline for everything that is waited for."""

import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from services.check.frames import Reader, accepts, encode_text, request
from services.contract.live import SUBPROTOCOL

_CHUNK = 1 << 16
_LONGEST_HEAD = 1 << 14


class SocketError(Exception):
    """Why there is no connection, or none any more."""


class Socket:
    """url: http:// or https:// of the gateway. until: the deadline, by time.monotonic(). SocketError from everything."""

    def __init__(self, url: str, path: str, token: str, until: float) -> None:
        self._until = until
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SocketError(f"{url!r} is not an address like http://host:port")
        self._reader = Reader()
        try:
            plain = socket.create_connection((parts.hostname, parts.port or (443 if tls else 80)), timeout=self._left())
            self._socket = ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname) if tls else plain
            self._open(parts.netloc.rpartition("@")[2], path, token)
        except OSError as error:
            raise SocketError(f"{url} cannot be reached: {error}") from None

    def send(self, payload: bytes) -> None:
        try:
            self._socket.sendall(encode_text(payload, secrets.token_bytes(4)))
        except OSError as error:
            raise SocketError(f"the gateway is gone: {error}") from None

    def messages(self) -> Iterator[bytes]:
        """As they come, until the deadline."""
        yield from self._reader.feed(self._first)
        while True:
            yield from self._reader.feed(self._receive())
            if self._reader.owed:
                self._socket.sendall(self._reader.owed)
                self._reader.owed.clear()

    def close(self) -> None:
        self._socket.close()

    def _open(self, host: str, path: str, token: str) -> None:
        key = secrets.token_bytes(16)
        self._socket.sendall(request(host, path, key, SUBPROTOCOL, token))
        data = b""
        while b"\r\n\r\n" not in data and len(data) < _LONGEST_HEAD:
            data += self._receive()
        head, _, self._first = data.partition(b"\r\n\r\n")
        if not accepts(head, key):
            status = head.decode("latin-1").partition("\r\n")[0]
            raise SocketError(f"the gateway refuses the socket: {status}{_reason(self._first)}")

    def _receive(self) -> bytes:
        self._socket.settimeout(self._left())
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            raise SocketError("time is up") from None
        except OSError as error:
            raise SocketError(f"the gateway is gone: {error}") from None
        if not data:
            raise SocketError("the gateway has hung up")
        return data

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise SocketError("time is up")
        return left


def _reason(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    return f" {text[:200]}" if text else ""
