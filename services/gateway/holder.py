"""Who holds a WebSocket: by which right, until when, and how much may be said on it. The part of a socket that speaks with the door.

Whose token names a key that is not known waits until keys have been read again, at most a few seconds, without a task of its own.
"""

import asyncio
import json
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

from services.contract.live import CloseCode
from services.gateway import handshake, metrics
from services.gateway.access.door import NOBODY, DeniedError, Door, Guest

HASTE_MS: Final = 5_000  # after which a client comes back that said too much


class Community(Protocol):
    """What sockets share. ending: epoch seconds at which their rights end."""

    door: Door
    ending: dict["Holder", float]
    clock: Callable[[], float]


class Holder:
    """guest: who it is; NOBODY until there is a handshake."""

    __slots__ = ("_full_at", "guest")

    sockets: Community
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.guest = NOBODY
        self._full_at = 0.0  # of the rate of messages

    @property
    def address(self) -> str:
        """Whose it is, for a person: as it is counted; where nothing is counted, who is at the other end, which may be a proxy."""
        return self.guest.address or self._peer

    @property
    def _peer(self) -> str:
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    def close(self, code: int, reason: str = "") -> None:
        raise NotImplementedError

    def let_in(self, request: handshake.Request) -> None:
        """DeniedError where that may not be. To be given back by `let_out`."""
        door = self.sockets.door
        right = door.identify(request.headers, request.query, door.origin(request.headers))
        self.guest = door.enter(self._address(request), right)
        if right.ends_at < math.inf:
            self.sockets.ending[self] = right.ends_at

    def let_out(self) -> None:
        self.sockets.ending.pop(self, None)
        self.sockets.door.leave(self.guest)

    def await_keys(self, denied: DeniedError, then: Callable[[], None]) -> bool:
        """Whether it is worth waiting for other keys; `then` comes when they are there, and the connection still is."""
        keyring = self.sockets.door.keyring
        renewed = keyring.renewed() if keyring and denied.again else None
        if renewed is None:
            return False

        def go_on(_: "asyncio.Future[None]") -> None:
            if not self.transport.is_closing():
                then()

        renewed.add_done_callback(go_on)
        return True

    def renew(self, token: str, told: Callable[[str], None], *, waited: bool = False) -> None:
        """Another token instead of the one before. told: why it does not count, empty where it does."""
        door = self.sockets.door
        if not door.asks:
            return
        try:
            right = door.renew(token, self.guest.right)
        except DeniedError as denied:
            if waited or not self.await_keys(denied, lambda: self.renew(token, told, waited=True)):
                told(denied.reason)
            return
        self.guest = Guest(self.guest.address, right)
        self.sockets.ending[self] = right.ends_at
        told("")

    def refused(self, denied: DeniedError, request: handshake.Request) -> bytes:
        """The answer to a handshake, told and counted."""
        self.sockets.door.tell(denied, self._address(request), request.path)
        return refusal(denied.status, denied.reason, [*denied.headers])

    def says_too_much(self) -> bool:
        """Whether one more frame is too many, whatever it says; then it is closed."""
        self._full_at, wait = self.sockets.door.messages.take(self._full_at, self.sockets.clock())
        if wait:
            self.close(CloseCode.too_many_messages, json.dumps({"retry_in_ms": HASTE_MS}))
        return wait > 0

    def _address(self, request: handshake.Request) -> str:
        return self.sockets.door.address(request.headers, self._peer)


def refusal(status: HTTPStatus, reason: str, headers: list[tuple[str, str]]) -> bytes:
    metrics.REFUSED.labels(str(status.value)).inc()
    return handshake.RefusedError(status, reason, headers).answer()
