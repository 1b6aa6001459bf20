"""The protocol class as uvicorn uses it, over a transport that only remembers."""

import asyncio
import json
from typing import Any

import pytest

from services.gateway import metrics
from services.gateway.access.door import Door
from services.gateway.deflate import deflate
from services.gateway.departure import Connections, Departure
from services.gateway.frames import Opcode as Op
from services.gateway.frames import decode_close, encode, encode_text
from services.gateway.outgoing import Outgoing
from services.gateway.settings import LeavingSettings, LimitSettings
from services.gateway.sockets import CLOSE_S, LAST_READ_S, LAST_WORD_S, PING_EVERY_S, Sockets
from services.gateway.viewer import SHUT
from services.gateway.websocket import WebSocket, protocol
from tests.unit.gateway.masked import frame

REQUEST = (
    b"GET /live?a=1 HTTP/1.1\r\nhost: here\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: v1\r\n\r\n"
)
PING = encode(Op.PING, b"")


class Wire(asyncio.Transport):
    """waiting: what the other side has not taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.waiting = 0
        self.high: int | None = None
        self.over = ""

    def write(self, data: Any) -> None:
        if self.over == "lost":
            raise RuntimeError("unable to perform operation; the handler is closed")  # as uvloop says it
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write_eof(self) -> None:
        self.over = self.over or "said all"

    def is_closing(self) -> bool:
        return self.over not in ("", "said all")

    def close(self) -> None:
        self.over = self.over if self.is_closing() else "closed"

    def abort(self) -> None:
        self.over = "aborted"


class Echo:
    """An endpoint that repeats what it hears, and fails when it is told to."""

    subprotocols: tuple[str, ...] = ("v1",)

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.agreed: list[str] = []
        self.ended_sessions = 0

    def open(self, socket: WebSocket, query: str, subprotocol: str) -> "EchoSession":
        self.queries.append(query)
        self.agreed.append(subprotocol)
        return EchoSession(self, socket)


class EchoSession:
    def __init__(self, endpoint: Echo, socket: WebSocket) -> None:
        self.endpoint = endpoint
        self.socket = socket

    @property
    def watches(self) -> tuple[str, ...]:
        return ("echo",)

    def move(self, within_ms: int) -> None:
        self.socket.send(Outgoing("moved", b"move"))

    def received(self, text: bytes) -> None:
        if text == b"fail":
            raise RuntimeError("as told")
        self.socket.send(Outgoing("echo", text))

    def ended(self) -> None:
        self.endpoint.ended_sessions += 1


class State:
    def __init__(self) -> None:
        self.connections: set[Any] = set()


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.echo = Echo()
        self.sockets = Sockets(Door(), lambda: self.now)
        self.state = State()

    def connect(self, request: bytes = REQUEST) -> tuple[WebSocket, Wire]:
        socket = protocol(self.sockets, {"/live": self.echo})(config=None, server_state=self.state, app_state={})  # type: ignore[call-arg]
        assert isinstance(socket, WebSocket)
        wire = Wire()
        socket.connection_made(wire)
        socket.data_received(request)
        return socket, wire

    def turns(self, seconds: int) -> None:
        for at in range(seconds):
            self.now += 1
            self.sockets.turn(at % PING_EVERY_S)


def close_code(wire: Wire) -> int:
    closes = [data for data in wire.written if data[0] == 0x88]
    assert len(closes) == 1, "one close frame"
    return decode_close(closes[0][2:])[0]


@pytest.fixture
def world() -> World:
    return World()


def test_an_upgrade_is_answered_and_opens_a_session(world: World) -> None:
    socket, wire = world.connect()
    assert wire.written[0].startswith(b"HTTP/1.1 101 ")
    assert (world.echo.queries, len(world.sockets), world.state.connections) == (["a=1"], 1, {socket})
    assert wire.high == 0, "it knows of every byte that waits"
    socket.data_received(frame(1, b"hello"))
    assert wire.written[1:] == [encode_text(b"hello")]


@pytest.mark.parametrize(("offered", "agreed"), [("v1", "v1"), ("v1, v2", "v2"), ("v3,v2", "v2"), ("v1, v3", "v1")])
def test_of_several_subprotocols_ours_comes_first_and_the_session_hears_which(world: World, offered: str, agreed: str) -> None:
    world.echo.subprotocols = ("v2", "v1")
    _, wire = world.connect(REQUEST.replace(b"sec-websocket-protocol: v1", f"sec-websocket-protocol: {offered}".encode()))
    assert f"Sec-WebSocket-Protocol: {agreed}\r\n".encode() in wire.written[0]
    assert world.echo.agreed == [agreed]


def test_a_client_that_offers_compression_may_compress(world: World) -> None:
    socket, wire = world.connect(REQUEST.replace(b"\r\n\r\n", b"\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"))
    assert (b"Sec-WebSocket-Extensions: permessage-deflate" in wire.written[0], socket.deflated) == (True, True)
    socket.data_received(frame(1, deflate(b"hello"), rsv=4))
    assert wire.written[1:] == [encode_text(b"hello")]


def test_a_client_that_offers_none_may_not(world: World) -> None:
    socket, wire = world.connect()
    assert not socket.deflated
    socket.data_received(frame(1, deflate(b"hello"), rsv=4))
    assert close_code(wire) == 1002


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (REQUEST.replace(b"/live", b"/nowhere"), 404),
        (REQUEST.replace(b": 13", b": 12"), 426),
        (REQUEST.replace(b"host: here", b"host: here\r\norigin: http://evil"), 403),
        (REQUEST.replace(b"host: here\r\n", b""), 400),
    ],
)
def test_what_is_refused_leaves_nothing_behind(world: World, request_: bytes, status: int) -> None:
    socket, wire = world.connect(request_)
    assert wire.written[0].startswith(f"HTTP/1.1 {status} ".encode())
    assert (wire.over, len(world.sockets), world.echo.queries) == ("closed", 0, [])
    socket.data_received(b"more")
    socket.send(Outgoing("echo", b"late"))
    socket.close(4000)
    socket.connection_lost(None)
    assert len(wire.written) == 1
    assert world.state.connections == set()


def test_a_client_without_the_subprotocol_is_told_so_in_a_close_frame(world: World) -> None:
    _, wire = world.connect(REQUEST.replace(b"protocol: v1", b"protocol: v9"))
    assert wire.written[0].startswith(b"HTTP/1.1 101 ")
    assert close_code(wire) == 4501
    assert world.echo.queries == []


def test_the_end_of_a_connection_ends_its_session_once(world: World) -> None:
    socket, _ = world.connect()
    socket.connection_lost(None)
    assert (world.echo.ended_sessions, len(world.sockets), world.state.connections) == (1, 0, set())


def test_after_a_closing_handshake_the_other_side_is_left_to_close(world: World) -> None:
    socket, wire = world.connect()
    socket.data_received(frame(8, b"\x03\xe8"))
    assert (close_code(wire), wire.over) == (1000, "said all")
    socket.data_received(frame(9, b"after the end"))
    socket.send(Outgoing("echo", b"late"))
    assert wire.written[-1][0] == 0x88


@pytest.mark.parametrize(
    "said",
    [frame(10), frame(9), frame(1, b"hi"), frame(1, fin=False) + frame(0, fin=False) * 400],
    ids=["pongs", "pings", "texts", "fragments"],
)
def test_who_sends_too_many_frames_is_heard_no_longer(world: World, said: bytes) -> None:
    socket, wire = world.connect()
    socket.data_received(said * 400)
    assert (close_code(wire), wire.over) == (4005, "said all")
    assert len(wire.written) <= 302, "the handshake, 300 answers, and the close"
    socket.data_received(said)
    assert len(wire.written) <= 302


def test_who_does_not_close_after_the_closing_handshake_is_cut_after_a_while(world: World) -> None:
    socket, wire = world.connect()
    socket.data_received(frame(3))
    world.turns(int(CLOSE_S))
    assert (close_code(wire), wire.over) == (1002, "said all")
    world.turns(1)
    assert wire.over == "aborted"


def test_nothing_is_written_after_our_close_frame(world: World) -> None:
    socket, wire = world.connect()
    socket.close(4000, "bye")
    socket.send(Outgoing("echo", b"late"))
    socket.close(4001)
    socket.data_received(frame(9))
    assert close_code(wire) == 4000
    assert wire.over == ""
    socket.data_received(frame(8, b"\x0f\xa0"))
    assert wire.over == "said all"


def test_who_does_not_answer_a_close_is_cut_after_a_while(world: World) -> None:
    socket, wire = world.connect()
    socket.close(4000)
    world.turns(int(CLOSE_S))
    assert wire.over == ""
    world.turns(1)
    assert wire.over == "aborted"


def test_everybody_is_pinged_once_in_a_round(world: World) -> None:
    wires = [world.connect()[1] for _ in range(50)]
    for slot in range(PING_EVERY_S):
        world.sockets.turn(slot)
    assert all(wire.written.count(PING) == 1 for wire in wires)


def test_who_answers_no_ping_is_closed(world: World) -> None:
    socket, wire = world.connect()
    world.turns(2 * PING_EVERY_S)
    assert wire.written.count(PING) == 2
    socket.data_received(frame(10))
    world.turns(2 * PING_EVERY_S)
    assert wire.written.count(PING) == 4
    world.turns(PING_EVERY_S)
    assert close_code(wire) == 4002


def test_who_takes_nothing_is_closed_when_too_much_waits(world: World) -> None:
    most = world.sockets.limits.waiting_bytes
    socket, wire = world.connect()
    wire.waiting = most + 1
    socket.send(Outgoing("echo", b"1"))
    assert not closes(wire), "only a socket that the transport says is stalled is looked at"
    socket.pause_writing()
    socket.send(Outgoing("echo", b"2"))
    assert not closes(wire), "one frame may be as long as a dashboard is: it would be too long for everybody who comes"
    wire.waiting += most + 1
    socket.send(Outgoing("echo", b"3"))
    assert told_too_slow(wire)
    socket.send(Outgoing("echo", b"4"))
    assert told_too_slow(wire), "once, and nothing after it"


def test_answers_to_pings_that_nobody_reads_count_too(world: World) -> None:
    socket, wire = world.connect()
    wire.waiting = 1_000
    socket.pause_writing()
    wire.waiting += world.sockets.limits.waiting_bytes + 1
    socket.data_received(frame(Op.PING, b"there?"))
    assert told_too_slow(wire)


def test_who_takes_nothing_for_too_long_is_closed_and_who_goes_on_is_not(world: World) -> None:
    (slow, slow_wire), (brief, brief_wire) = world.connect(), world.connect()
    steady, steady_wire = world.connect()
    for socket, wire in ((slow, slow_wire), (brief, brief_wire), (steady, steady_wire)):
        wire.waiting = 1_000
        socket.pause_writing()
        assert socket.clogged
    world.turns(5)
    brief.resume_writing()
    assert not brief.clogged
    for _ in range(int(world.sockets.limits.stall_s)):
        steady_wire.waiting -= 1  # it takes little, but goes on
        world.turns(1)
        world.sockets.turn(0)
    assert told_too_slow(slow_wire) and not closes(brief_wire) and not closes(steady_wire)
    assert slow_wire.over == "", "it may find the close frame behind the rest"
    for _ in range(int(LAST_WORD_S)):
        world.turns(1)
    assert (slow_wire.over, brief_wire.over, steady_wire.over) == ("aborted", "", "")
    assert told_too_slow(slow_wire)


def test_who_reads_on_after_it_was_told_has_the_time_that_it_needs(world: World) -> None:
    socket, wire = world.connect()
    wire.waiting = 1_000
    socket.pause_writing()
    world.turns(int(world.sockets.limits.stall_s) + 1)
    for _ in range(3 * int(LAST_WORD_S)):
        wire.waiting -= 1
        world.turns(1)
    assert told_too_slow(wire) and wire.over == ""
    world.turns(int(LAST_WORD_S) + 1)
    assert wire.over == "aborted"


def test_a_byte_now_and_then_does_not_keep_a_socket_that_was_told(world: World) -> None:
    socket, wire = world.connect()
    wire.waiting = 1_000_000
    socket.pause_writing()
    world.turns(int(world.sockets.limits.stall_s) + 1)
    for _ in range(int(LAST_READ_S) + 1):
        wire.waiting -= 1
        world.turns(1)
    assert told_too_slow(wire) and wire.over == "aborted"


def test_one_whose_close_cannot_be_written_is_cut_all_the_same(world: World) -> None:
    socket, wire = world.connect()
    wire.over = "lost"
    with pytest.raises(RuntimeError):
        socket.close(1011)
    world.turns(int(CLOSE_S) + 1)
    assert wire.over == "aborted"


def test_who_goes_on_after_it_was_told_ends_as_any_other(world: World) -> None:
    socket, wire = world.connect()
    wire.waiting = 1_000
    socket.pause_writing()
    world.turns(int(world.sockets.limits.stall_s) + 1)
    wire.waiting = 0
    socket.resume_writing()
    socket.data_received(frame(Op.CLOSE, b"\x0f\xa1"))
    assert told_too_slow(wire) and wire.over == "said all"
    world.turns(int(CLOSE_S) + 1)
    assert wire.over == "aborted", "it does not close, though it said so"


def test_codes_that_clients_make_up_are_one_time_series(world: World) -> None:
    def counted() -> dict[str, float]:
        (family,) = metrics.CLOSED.collect()
        return {sample.labels["code"]: sample.value for sample in family.samples if sample.name.endswith("_total")}

    before = counted()
    for code in (*range(3_000, 3_020), 4_999, 1_000, 1_001, 4_000):
        socket, _ = world.connect()
        socket.data_received(frame(Op.CLOSE, code.to_bytes(2, "big")))
        socket.connection_lost(None)
    gained = {code: value - before.get(code, 0) for code, value in counted().items() if value != before.get(code, 0)}
    assert gained == {"other": 21, "1000": 1, "1001": 1, "4000": 1}


def closes(wire: Wire) -> list[tuple[int, str]]:
    return [decode_close(data[2:]) for data in wire.written if data[0] == 0x88]


def told_too_slow(wire: Wire) -> bool:
    """Once."""
    ((code, reason),) = closes(wire)
    return code == 4001 and json.loads(reason) == {"retry_in_ms": 5_000}


def test_who_takes_longer_for_one_frame_than_two_pings_are_apart_is_not_closed(world: World) -> None:
    """At 56 kbit/s a dashboard of half a megabyte takes more than a minute, and the pings would come after it."""
    socket, wire = world.connect()
    wire.waiting = 500_000
    socket.pause_writing()
    for _ in range(4 * PING_EVERY_S):
        wire.waiting -= 6_000
        world.turns(1)
        world.sockets.turn(socket._slot)
    assert wire.over == "" and not [data for data in wire.written if data[0] == 0x88]
    socket.resume_writing()
    world.turns(4 * PING_EVERY_S)
    assert close_code(wire) == 4002


def test_a_socket_knows_whose_it_is(world: World) -> None:
    socket, wire = world.connect()
    wire._extra["peername"] = ("192.0.2.7", 50_000)  # type: ignore[attr-defined]  # asyncio's own
    assert socket.address == "192.0.2.7"
    counted = World()
    counted.sockets.door = Door(limits=LimitSettings(per_address=5, trusted_proxies=("192.0.2.0/24",)))
    made = protocol(counted.sockets, {"/live": counted.echo})(config=None, server_state=counted.state, app_state={})  # type: ignore[call-arg]
    assert isinstance(made, WebSocket)
    wire = Wire()
    wire._extra["peername"] = ("192.0.2.7", 50_000)  # type: ignore[attr-defined]
    made.connection_made(wire)
    made.data_received(REQUEST.replace(b"host: here", b"host: here\r\nx-forwarded-for: 198.51.100.9"))
    assert made.address == "198.51.100.9"


def test_a_frame_for_who_has_just_gone_harms_nobody(world: World) -> None:
    """A tick writes in slices, and knows from its beginning to whom."""
    socket, wire = world.connect()
    socket.connection_lost(ConnectionResetError())
    wire.over = "lost"
    socket.send(Outgoing("echo", b"late"))
    socket.ping()
    socket.move(100)
    socket.go_away(100)
    socket.shutdown()


def test_a_session_that_fails_closes_its_socket_only(world: World) -> None:
    (socket, wire), (_, other) = world.connect(), world.connect()
    socket.data_received(frame(1, b"fail"))
    assert close_code(wire) == 1011
    assert len(other.written) == 1


def test_a_session_that_cannot_be_opened_closes_its_socket_and_nothing_is_written_past_its_transport(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> EchoSession:
        raise RuntimeError("of a kind that nobody thought of")

    monkeypatch.setattr(world.echo, "open", fail)
    socket, wire = world.connect()
    assert close_code(wire) == 1011
    assert socket.fd == SHUT
    world.turns(PING_EVERY_S)
    assert PING not in wire.written
    socket.connection_lost(None)
    assert not len(world.sockets)


def test_one_that_cannot_be_pinged_does_not_keep_the_others_from_it(world: World) -> None:
    pairs = [world.connect() for _ in range(2 * PING_EVERY_S)]
    pairs[0][1].over = "lost"
    world.turns(PING_EVERY_S)
    assert [wire.written.count(PING) for _, wire in pairs[1:]] == [1] * (2 * PING_EVERY_S - 1)
    world.turns(PING_EVERY_S)


def test_when_the_gateway_goes_everybody_is_told_when_to_come_back(world: World) -> None:
    wires = [world.connect()[1] for _ in range(20)]
    Departure(Connections(world.sockets), LeavingSettings(), 500).dismiss()
    waits = set()
    for wire in wires:
        code, reason = decode_close(wire.written[-1][2:])
        assert code == 4000
        waits.add(json.loads(reason)["retry_in_ms"])
    assert all(500 <= wait <= 3_000 for wait in waits)
    assert len(waits) > 1, "not all at the same moment"
