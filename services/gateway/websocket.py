"""WebSockets as uvicorn's `ws` class: one object per connection, no task, no queue, no timer of its own.

uvicorn makes one when a request asks for an upgrade, feeds it that request, and hands it the transport. A frame that all
viewers get is built once and written to each. What is said on it is its endpoint's business; the law is in `conversation`.

A reader that does not keep up is clogged: the kernel holds NOTSENT_BYTES that it has not sent, and the rest of one frame waits
here. It is given nothing more until all of that has gone (audience), so that what it reads then is new. One that takes nothing
at all for `stall_s`, or has more than `waiting_bytes` beside that frame, is closed with 4001: the close frame waits behind the rest of
what it was sent, and if nothing is read for LAST_WORD_S, or not all within LAST_READ_S, the connection is cut.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

import structlog

from services.contract.live import MAX_CLIENT_MESSAGE_BYTES, CloseCode
from services.gateway import frames, handshake
from services.gateway.access.door import DeniedError
from services.gateway.conversation import Conversation, End, Send, Text
from services.gateway.frames import Closed, Opcode
from services.gateway.holder import Holder, refusal
from services.gateway.outgoing import Outgoing
from services.gateway.sends import write
from services.gateway.sockets import CLOSE_S, LAST_WORD_S, Sockets
from services.gateway.viewer import SHUT, descriptors

log = structlog.get_logger()

NOTSENT_BYTES: Final = 8 * 1024
"""What the kernel takes beyond what is on its way. At 56 kbit/s, 8 KiB are on the way for 1.2 s."""
SLOW_RETRY_MS: Final = 5_000


class Session(Protocol):
    """What an endpoint makes of one socket. watches, move: as of `departure.Connection`."""

    @property
    def watches(self) -> tuple[str, ...]: ...

    def received(self, text: bytes) -> None: ...

    def move(self, within_ms: int) -> None: ...

    def ended(self) -> None: ...


class Endpoint(Protocol):
    """subprotocols: one of them has to be agreed on, where there are any: the first that the client offers."""

    @property
    def subprotocols(self) -> Sequence[str]: ...

    def open(self, socket: "WebSocket", query: str, subprotocol: str) -> Session:
        """subprotocol: which one was agreed on, so how messages are written; empty where there is none."""


class WebSocket(Holder, asyncio.Protocol):
    """One connection. deflated: permessage-deflate was agreed on."""

    __slots__ = (
        "_code",
        "_connections",
        "_conversation",
        "_direct",
        "_fd",
        "_pinged",
        "_session",
        "_slot",
        "clogged",
        "deflated",
        "transport",
    )

    sockets: Sockets
    endpoints: Mapping[str, Endpoint]

    def __init__(self, config: Any, server_state: Any, app_state: Any) -> None:
        super().__init__()
        self._connections: set[Any] = server_state.connections
        self._conversation: Conversation | None = None
        self._session: Session | None = None
        self._slot = -1
        self._fd = self._direct = SHUT  # where frames may be written past the transport; fd: while that has nothing waiting
        self.deflated = False
        self._pinged = 0  # pings that have not been answered
        self._code = int(Closed.ABNORMAL)
        self.clogged = False
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # comes with connection_made

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shut()
        self._connections.discard(self)
        self._conversation = None  # a tick that is writing may still come by, and uvloop's closed transports take nothing
        if self._slot >= 0:
            self.sockets.remove(self, self._slot, self._code)
            self.let_out()
            self._slot = -1
        if session := self._session:
            self._session = None
            session.ended()

    def data_received(self, data: bytes) -> None:
        if self._conversation is None:
            if not self.transport.is_closing():
                self._shake_hands(data)
            return
        self._pinged = 0  # whoever says anything is there
        for action in self._conversation.receive(data):
            match action:
                case End(code):
                    self._code = code
                    self._finish()
                case _ if self.says_too_much():
                    self._finish()
                    return
                case Text(payload):
                    self._hand_on(payload)
                case Send(answer):
                    self.transport.write(answer)
                    self._hold_to_limit()

    def eof_received(self) -> None:
        """The transport is closed then."""

    def pause_writing(self) -> None:
        self.clogged = True
        self._aim(SHUT)
        self.sockets.stalled[self] = self.sockets.clock(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self.clogged = False
        self._aim(self._direct)
        self.sockets.stalled.pop(self, None)

    def shutdown(self) -> None:
        """uvicorn stops. Everybody has been sent away before; this is for who came in between."""
        self.close(CloseCode.going_away)

    # For the endpoint.

    @property
    def fd(self) -> int:
        """As of `Viewer`."""
        return self._fd

    def send(self, message: Outgoing) -> None:
        """Write a message. Does nothing where the socket is closing."""
        self._write((message.deflated if self.deflated else message.plain) or message.frame(self.deflated))

    def rest(self, frame: bytes | memoryview) -> None:
        """Write a frame, or what is left of it. The transport knows what to do where there is no room, or nobody."""
        conversation = self._conversation
        if conversation is None or conversation.closing or conversation.ended:
            return
        self.transport.write(frame)
        self._hold_to_limit()

    def _write(self, frame: bytes) -> None:
        """Past the transport, where that has nothing waiting."""
        if self._fd != SHUT:
            taken = write(self._fd, frame)
            if taken == len(frame):
                return
            self.rest(memoryview(frame)[taken:])
        else:
            self.rest(frame)

    def _aim(self, fd: int) -> None:
        """Frames are written there from now on."""
        self._fd = fd
        descriptors.changes += 1

    def _shut(self) -> None:
        """Nothing is written past the transport any more."""
        self._direct = SHUT
        self._aim(SHUT)

    def _hold_to_limit(self) -> None:
        """What may wait for one reader is limited, also what it asked for itself: answers to its pings."""
        if not self.clogged or self in self.sockets.closing:
            return
        if self.transport.get_write_buffer_size() > self.sockets.limits.waiting_bytes + self.sockets.stalled[self][1]:
            self.drop("too much was waiting")

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake."""
        if self._conversation and (frame := self._conversation.close(code, reason)):
            self._shut()
            self._code = code
            self.sockets.closing[self] = self.sockets.clock() + CLOSE_S  # before, as writing may fail
            self.transport.write(frame)

    def go_away(self, retry_in_ms: int) -> None:
        """Close it because this gateway, or this stream, is not the one to stay with."""
        self.close(CloseCode.going_away, json.dumps({"retry_in_ms": retry_in_ms}))

    @property
    def watches(self) -> tuple[str, ...]:
        return self._session.watches if self._session else ()

    def move(self, within_ms: int) -> None:
        """Ask the viewer to open another socket, elsewhere, within so many ms, and to close this one then."""
        if self._session:
            self._session.move(within_ms)
        else:
            self.go_away(within_ms)

    def drop(self, reason: str) -> None:
        """Close a reader that does not read, and tell it so if it goes on in time."""
        held = self.sockets.told.admit(reason, self.sockets.clock())
        if held is not None:
            log.info("a viewer was too slow", reason=reason, **({"repeated": held} if held else {}))
        self.close(CloseCode.too_slow, json.dumps({"retry_in_ms": SLOW_RETRY_MS}))
        self.sockets.dropped[self] = now = self.sockets.clock()
        self.sockets.closing[self] = now + LAST_WORD_S

    def abort(self) -> None:
        self._shut()
        self.transport.abort()

    def ping(self) -> None:
        if self.clogged:  # a ping would wait behind what is read slowly, and its answer too; who reads nothing is found by that
            return
        if self._pinged >= 2:
            self.close(CloseCode.no_pong, "no answer to two pings")
            return
        self._pinged += 1
        self._write(_PING)

    def _shake_hands(self, data: bytes, *, waited: bool = False) -> None:
        request = handshake.parse(data)
        endpoint = self.endpoints.get(request.path)
        try:
            if endpoint is None:
                raise handshake.RefusedError(HTTPStatus.NOT_FOUND, "there is no WebSocket here")
            accepted = handshake.accept(request, endpoint.subprotocols)
            self.let_in(request)
        except handshake.RefusedError as refused:
            self._refuse(refusal(refused.status, refused.reason, [*refused.headers]))
            return
        except DeniedError as denied:
            if not waited and self.await_keys(denied, lambda: self._resume(data)):
                self.transport.pause_reading()
            else:
                self._refuse(self.refused(denied, request))
            return
        self.deflated = accepted.deflated
        self._conversation = Conversation(MAX_CLIENT_MESSAGE_BYTES, self.deflated)
        self._slot = self.sockets.add(self)
        self.transport.set_write_buffer_limits(high=0)  # what is not sent yet stays here, where it is known
        self.transport.write(accepted.answer)
        self._direct = _descriptor(self.transport)
        self._aim(self._direct)
        if endpoint.subprotocols and not accepted.subprotocol:
            self.close(CloseCode.no_subprotocol, f"offer the subprotocol {endpoint.subprotocols[0]}")
            return
        try:
            self._session = endpoint.open(self, request.query, accepted.subprotocol)
        except Exception:  # uvicorn hands us the connection when this has returned; else nobody would hear of its end
            log.exception("a session could not be opened")
            self.close(Closed.INTERNAL_ERROR)

    def _resume(self, data: bytes) -> None:
        """The handshake, after it has waited for keys."""
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        self._shake_hands(data, waited=True)

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()

    def _finish(self) -> None:
        """Say no more, and let the other side close. RFC 6455 7.1.1: shut down for sending, then read until nothing comes.

        To close with bytes unread would reset the connection, and the reset may overtake our close frame.
        """
        self._shut()
        if self._conversation:
            self._conversation.abandon()
        if not self.transport.is_closing():
            self.transport.write_eof()
        self.sockets.closing[self] = self.sockets.clock() + CLOSE_S

    def _hand_on(self, payload: bytes) -> None:
        if self._session is None:
            return
        try:
            self._session.received(payload)
        except Exception:
            log.exception("a message of a viewer could not be handled")
            self.close(Closed.INTERNAL_ERROR)


def protocol(sockets: Sockets, endpoints: Mapping[str, Endpoint]) -> type[asyncio.Protocol]:
    """The class for uvicorn: it makes WebSockets that belong to these. endpoints: by path."""
    return type("BoundWebSocket", (WebSocket,), {"__slots__": (), "sockets": sockets, "endpoints": endpoints})


_PING: Final = frames.encode(Opcode.PING, b"")


def _descriptor(transport: asyncio.Transport) -> int:
    """The socket's, where bytes that are written to it are what the other side reads, and nothing is waiting before them.

    A transport that is not clogged has nothing waiting (its limit is 0), so what is written there cannot overtake anything.
    """
    socket = transport.get_extra_info("socket")
    if socket is None or transport.get_extra_info("sslcontext") is not None or transport.get_write_buffer_size():
        return SHUT
    return int(socket.fileno())
