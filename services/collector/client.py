"""Client: plain HTTP over one connection that is kept. Blocks; the service calls it in threads of its own.

http.client, since it is the cheapest there is: about a third of the CPU per post of an asyncio client.
"""

import http.client
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

_STALE: Final = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class AwayError(Exception):
    """Nobody answered; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """headers: names in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Client:
    """For one address. ValueError from the constructor where that is not http:// or https://."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an address like http://host:port/path")
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)

    def ask(self, method: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request. AwayError when it was not answered."""
        kept = self._connection.sock is not None
        try:
            return self._once(method, body, headers or {})
        except _STALE as error:
            self.close()
            if not kept:
                raise AwayError(_text(error)) from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise AwayError(_text(error)) from None
        try:  # the other side had closed the kept connection meanwhile
            return self._once(method, body, headers or {})
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise AwayError(_text(error)) from None

    def close(self) -> None:
        self._connection.close()

    def _once(self, method: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        self._connection.request(method, self._path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        return Answer(response.status, content, {name.lower(): value for name, value in response.getheaders()})


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
