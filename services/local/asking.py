"""Asking a child over its admin port, with nothing but a socket."""

import asyncio
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """status: of HTTP, 0 where nobody answered in time; body: as text."""

    status: int
    body: str

    def json(self) -> dict[str, object]:
        """The body as an object; empty where it is none."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


async def ask(host: str, port: int, path: str, *, method: str = "GET", seconds: float = 1.0) -> Answer:
    """One request. Never raises for what the other side does."""
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(host, port, path, method)
    except (OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError) as error:
        return Answer(0, str(error) or type(error).__name__)


async def _exchange(host: str, port: int, path: str, method: str) -> Answer:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        return Answer(int(head.split(b" ", 2)[1]), body.decode(errors="replace"))
    finally:
        writer.close()
