"""A WebSocket client that may say anything: bytes go out as they are, cut as one likes, and what comes back is read frame by frame."""

import contextlib
import json
import socket
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.unit.gateway.masked import frames

PATIENCE_S: Final = 10.0
KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PATH: Final = "/api/v1/live"
FRAMES: Final = -1  # instead of a number of bytes
HEAD: Final = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "tideboard.v1.json",
}


@dataclass(frozen=True)
class Frame:
    """As the server sent it."""

    first: int
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F

    @property
    def compressed(self) -> bool:
        return bool(self.first & 0x40)

    @property
    def text(self) -> bytes:
        """The payload as it was before it was compressed, with the smallest window that the server may use."""
        if not self.compressed:
            return self.payload
        return zlib.decompressobj(-12).decompress(self.payload + b"\x00\x00\xff\xff")

    @property
    def code(self) -> int:
        return int.from_bytes(self.payload[:2], "big")

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found


@dataclass(frozen=True)
class Answer:
    """Of HTTP. headers: lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Peer:
    """One TCP connection. step: bytes written at a time, 0 for all at once, FRAMES for one frame at a time."""

    def __init__(self, port: int, step: int = 0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.step = step
        self._unread = b""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, path: str = PATH, **headers: str) -> Answer:
        """The opening handshake, with more headers: the answer, which is 101 or the test has failed."""
        answer = self.ask(request(path, **headers))
        assert answer.status == 101, answer
        return answer

    def ask(self, data: bytes) -> Answer:
        """Send a request as it is; the head of the answer, and its body unless it opens a WebSocket."""
        self.send(data)
        while b"\r\n\r\n" not in self._unread:
            assert self._receive(), f"the connection ended after {self._unread!r}"
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        body = b"" if status == 101 else self._take(int(headers.get("content-length", "0")))
        return Answer(status, headers, body)

    def send(self, data: bytes) -> None:
        """In steps, for as long as the other side takes them."""
        step = self.step or len(data) or 1
        pieces = frames(data) if step == FRAMES else (data[at : at + step] for at in range(0, len(data), step))
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                self._socket.sendall(piece)

    def say_no_more(self) -> None:
        """Shut down for sending."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def frames(self) -> Iterator[Frame]:
        """Until the server closes; without its pings, and without the deltas that say that it lives."""
        for frame in self.everything():
            if not (frame.opcode == PING or (frame.opcode == TEXT and frame.text.startswith(b'{"type":"delta"'))):
                yield frame

    def everything(self) -> Iterator[Frame]:
        """Until the server closes."""
        while (head := self._take(2, or_end=True)) != b"":
            assert not head[1] & 0x80, "a server does not mask"
            size = head[1] & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", self._take(2))
                assert size > 125, "a length is written in as few bytes as possible"
            elif size == 127:
                (size,) = struct.unpack("!Q", self._take(8))
                assert size > 0xFFFF, "a length is written in as few bytes as possible"
            frame = Frame(head[0], self._take(size))
            assert frame.first & 0x80, "the server does not fragment"
            yield frame

    def hear(self) -> Frame:
        """The next of them."""
        return next(self.frames())

    def all(self) -> list[Frame]:
        """To the end, when the server has closed."""
        return list(self.frames())

    def _take(self, size: int, or_end: bool = False) -> bytes:
        parts, held = [self._unread], len(self._unread)
        while held < size:
            data = self._socket.recv(1 << 18)
            if not data:
                assert or_end, f"the connection ended inside of a frame, after {b''.join(parts)[:100]!r}"
                assert not held, f"the connection ended inside of a head: {b''.join(parts)!r}"
                return b""
            parts.append(data)
            held += len(data)
        whole = b"".join(parts)
        self._unread = whole[size:]
        return whole[:size]

    def _receive(self) -> bool:
        data = self._socket.recv(1 << 16)
        self._unread += data
        return bool(data)


def request(path: str = PATH, method: str = "GET", version: str = "HTTP/1.1", **headers: str | None) -> bytes:
    """An opening handshake with these headers instead or besides; None leaves one out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in HEAD.items() if name.lower() not in {other.lower() for other in named}}
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in (kept | named).items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
