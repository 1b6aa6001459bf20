"""Who holds a socket, over a transport that only remembers: getting in, waiting for keys, ending, saying too much."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.gateway.access.door import Door
from services.gateway.access.keyring import Keyring
from services.gateway.frames import decode_close
from services.gateway.settings import AccessSettings, LimitSettings
from services.gateway.sockets import PING_EVERY_S, Sockets
from services.gateway.websocket import WebSocket, protocol
from tests.tokens import claims, jwk, jwks, token
from tests.unit.gateway.masked import frame
from tests.unit.gateway.test_websocket import REQUEST, Echo, State, Wire

NOW = 1_795_385_021.0


class PausableWire(Wire):
    def __init__(self) -> None:
        super().__init__()
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class World:
    """A gateway that asks for tokens of the keys in `file`. now: epoch seconds; clock: its own."""

    def __init__(self, file: Path, **limits: Any) -> None:
        self.now, self.clock = NOW, 100.0
        self.file = file
        access = AccessSettings(auth="jwt", jwks=str(file), leeway_s=0)
        self.keyring = Keyring(access, again_s=5, clock=lambda: self.clock)
        limited = LimitSettings(**limits)
        door = Door(access, limited, keyring=self.keyring, wall=lambda: self.now, clock=lambda: self.clock)
        self.echo = Echo()
        self.sockets = Sockets(door, lambda: self.clock)

    def connect(self, held: str) -> tuple[WebSocket, PausableWire]:
        socket = protocol(self.sockets, {"/live": self.echo})(config=None, server_state=State(), app_state={})  # type: ignore[call-arg]
        assert isinstance(socket, WebSocket)
        wire = PausableWire()
        socket.connection_made(wire)
        socket.data_received(REQUEST.replace(b"\r\n\r\n", f"\r\nauthorization: Bearer {held}\r\n\r\n".encode()))
        return socket, wire

    def turns(self, seconds: int) -> None:
        for at in range(seconds):
            self.now += 1
            self.clock += 1
            self.sockets.turn(at % PING_EVERY_S)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    (tmp_path / "set").write_bytes(jwks(jwk("ES256", "a")))
    found = World(tmp_path / "set", messages_per_s=1, messages_at_once=5, per_subject=2)
    await found.keyring.start()
    return found


def good(kid: str = "a", number: int = 0, ends_in_s: float = 60, **more: Any) -> str:
    return token(claims("*", now=NOW, ends_in_s=ends_in_s, **more), "ES256", kid, number)


def status(wire: Wire) -> bytes:
    return wire.written[0].split(b" ", 2)[1]


def closed_with(wire: Wire) -> int:
    (close,) = [data for data in wire.written if data[0] == 0x88]
    return decode_close(close[2:])[0]


async def test_who_holds_a_token_gets_in_and_others_do_not(world: World) -> None:
    socket, wire = world.connect(good())
    assert (status(wire), socket.guest.right.subject, socket.guest.address) == (b"101", "ada", "192.0.2.1")
    _, wire = world.connect("rubbish")
    assert (status(wire), wire.over) == (b"401", "closed")
    assert b"WWW-Authenticate: Bearer" in wire.written[0]
    assert len(world.sockets) == 1


async def test_a_socket_ends_with_its_token_within_a_second(world: World) -> None:
    (_, wire), (_, later) = world.connect(good(ends_in_s=3)), world.connect(good(ends_in_s=30))
    world.turns(2)
    assert not any(data[0] == 0x88 for data in wire.written)
    world.turns(1)
    assert closed_with(wire) == 4004
    assert not any(data[0] == 0x88 for data in later.written)


async def test_another_token_moves_the_end(world: World) -> None:
    socket, wire = world.connect(good(ends_in_s=3))
    told: list[str] = []
    socket.renew(good(ends_in_s=10), told.append)
    world.turns(9)
    assert told == [""]
    assert not any(data[0] == 0x88 for data in wire.written)
    socket.renew(good(ends_in_s=5), told.append)
    assert told[1]
    world.turns(1)
    assert closed_with(wire) == 4004


async def test_what_is_held_is_given_back_once(world: World) -> None:
    sockets = [world.connect(good())[0] for _ in range(2)]
    assert status(world.connect(good())[1]) == b"503"
    for socket in sockets:
        socket.connection_lost(None)
        socket.connection_lost(None)
    assert world.sockets.ending == {}
    assert [status(world.connect(good())[1]) for _ in range(3)] == [b"101", b"101", b"503"]


async def test_who_names_a_new_key_waits_until_keys_are_read_again(world: World) -> None:
    world.file.write_bytes(jwks(jwk("ES256", "b", 1)))
    _, hasty = world.connect(good("b", 1))
    assert (status(hasty), hasty.paused) == (b"401", False), "keys were read a moment ago"
    world.clock += 5
    (_, first), (_, second), (gone, third) = (world.connect(good("b", 1)) for _ in range(3))
    assert [(wire.written, wire.paused) for wire in (first, second)] == [([], True)] * 2
    third.over = "aborted"
    gone.connection_lost(None)
    await read_again(world)
    assert [(status(wire), wire.paused) for wire in (first, second)] == [(b"101", False)] * 2
    assert third.written == []


async def test_who_names_a_key_that_is_nobodys_waits_once(world: World) -> None:
    world.clock += 5
    _, wire = world.connect(good("c", 2))
    assert wire.paused
    await read_again(world)
    assert (status(wire), wire.over) == (b"401", "closed")


async def test_another_token_may_wait_for_its_key_too(world: World) -> None:
    socket, wire = world.connect(good(ends_in_s=3))
    world.file.write_bytes(jwks(jwk("ES256", "b", 1)))
    world.clock += 5
    told: list[str] = []
    socket.renew(good("b", 1), told.append)
    assert told == []
    await read_again(world)
    assert told == [""]
    world.turns(5)
    assert not any(data[0] == 0x88 for data in wire.written)


async def read_again(world: World) -> None:
    renewed = world.keyring.renewed()
    assert renewed is not None
    running = asyncio.create_task(world.keyring.run())
    await renewed
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])


async def test_who_says_too_much_is_closed_with_a_time_to_come_back(world: World) -> None:
    socket, wire = world.connect(good())
    for _ in range(4):
        socket.data_received(frame(1, b"hello"))
    world.turns(2)
    for _ in range(3):
        socket.data_received(frame(9, b"ping"))
    assert not any(data[0] == 0x88 for data in wire.written)
    socket.data_received(frame(1, b"hello") * 10)
    (close,) = [data for data in wire.written if data[0] == 0x88]
    code, reason = decode_close(close[2:])
    assert (code, json.loads(reason)) == (4005, {"retry_in_ms": 5_000})
