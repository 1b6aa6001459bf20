"""Frames on real sockets, by both event loops: they come in order, and never to anybody else."""

import asyncio
import contextlib
import os
import socket
import time
import tracemalloc
from array import array
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from services.gateway import sends
from services.gateway.faults import Faults
from services.gateway.frames import encode_text
from services.gateway.hub import wall_clock
from services.gateway.outgoing import Outgoing
from services.gateway.recipients import Members, Out, Recipients
from services.gateway.viewer import SHUT, descriptors
from services.gateway.websocket import WebSocket, protocol
from services.gateway.writer import SLICE_NS, Writer
from tests.unit.gateway.masked import frame
from tests.unit.gateway.test_sends import WAYS
from tests.unit.gateway.test_websocket import REQUEST, World

Play = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
PATIENCE_S = 5.0


class Pair:
    """A socket of ours, after its handshake, and the other end of it."""

    def __init__(self, ours: WebSocket, theirs: socket.socket) -> None:
        self.ours = ours
        self.theirs = theirs

    async def hear(self, size: int) -> bytes:
        loop, heard = asyncio.get_running_loop(), b""
        while len(heard) < size:
            more = await asyncio.wait_for(loop.sock_recv(self.theirs, 65_536), PATIENCE_S)
            assert more, f"it ended after {len(heard)} of {size} bytes"
            heard += more
        return heard


@contextlib.asynccontextmanager
async def pair(world: World) -> AsyncIterator[Pair]:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    right.setblocking(False)
    kind: Any = protocol(world.sockets, {"/live": world.echo})
    _, ours = await loop.connect_accepted_socket(lambda: kind(config=None, server_state=world.state, app_state={}), left)
    await loop.sock_sendall(right, REQUEST)
    while not (await loop.sock_recv(right, 65_536)).endswith(b"\r\n\r\n"):
        pass
    try:
        yield Pair(ours, right)
    finally:
        ours.abort()
        right.close()
        await asyncio.sleep(0.01)  # until the event loop has closed it


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def play(request: pytest.FixtureRequest) -> Play:
    def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(story())

    return run


def message(n: int, size: int = 3_000) -> Outgoing:
    return Outgoing("delta", (b"%d " % n).ljust(size, b"."))


def frames(numbers: range) -> bytes:
    return b"".join(encode_text(message(n).payload) for n in numbers)


def test_frames_to_a_reader_that_stops_and_goes_on_come_whole_and_in_order(play: Play) -> None:
    async def story() -> None:
        async with pair(World()) as both:
            for _ in range(3):
                sent = 0
                while not both.ours.clogged:
                    both.ours.send(message(sent))
                    sent += 1
                heard = both.theirs.recv(65_536)  # there is room again, and the loop does not know yet
                for _ in range(3):  # what is sent all the same waits behind the others
                    both.ours.send(message(sent))
                    sent += 1
                expected = frames(range(sent))
                assert heard + await both.hear(len(expected) - len(heard)) == expected
                await until(lambda: not both.ours.clogged)

    play(story)


@pytest.mark.parametrize("way", WAYS)
def test_frames_that_the_hub_writes_come_whole_and_in_order_and_the_others_are_missed(way: sends.Sends, play: Play) -> None:
    async def story() -> None:
        async with pair(World()) as slow, pair(World()) as brisk:
            lost: list[object] = []
            writer = Writer(wall_clock, Faults(), lost.append, way)
            for _ in range(3):
                written: list[int] = []
                missed: list[object] = []
                sent, expected = 0, b""
                while len(missed) < 3:
                    await writer.write(Out(message(sent), Recipients([slow.ours, brisk.ours]), missed.append))
                    written += [sent] if len(missed) == 0 else []
                    sent += 1
                    expected = frames(range(sent))[-4_000:]
                    heard = await brisk.hear(len(encode_text(message(sent - 1).payload)))
                    assert heard == expected[-len(heard) :]
                assert missed == [slow.ours] * 3
                whole = b"".join(encode_text(message(n).payload) for n in written)
                assert await slow.hear(len(whole)) == whole
                await until(lambda: not slow.ours.clogged)
            assert not lost

    play(story)


@pytest.mark.parametrize("way", WAYS)
def test_who_goes_between_two_slices_is_not_written_to_and_its_number_is_anothers(way: sends.Sends, play: Play) -> None:
    """Everybody's socket is known when a message is begun, and from the one before."""

    async def story() -> None:
        world, begun = World(), asyncio.Event()

        def one_by_one(fds: "array[int]", first: int, frame: bytes, until_ns: int) -> sends.Sent:
            begun.set()
            time.sleep(SLICE_NS / 1e9)  # as if it took so long: the others have their turn
            return way(fds[: first + 1], first, frame, until_ns)

        async with contextlib.AsyncExitStack() as stack:
            stay = [await stack.enter_async_context(pair(world)) for _ in range(8)]
            goes = await stack.enter_async_context(pair(world))
            members = Members()
            for both in (*stay, goes):
                members.add(both.ours)
            writer = Writer(wall_clock, Faults(), lambda _: None, one_by_one)
            await writer.write(Out(message(1), members.recipients))
            assert len({frames_of(both.theirs) for both in (*stay, goes)}) == 1

            number, heirs = goes.ours.fd, list[socket.socket]()
            begun.clear()
            writing = asyncio.create_task(writer.write(Out(message(2), members.recipients)))
            await begun.wait()
            goes.ours.abort()
            while number not in [heir.fileno() for heir in heirs]:
                assert not writing.done(), "the number was free too late"
                heirs += [stack.enter_context(end) for end in socket.socketpair()]
                await asyncio.sleep(0)
            assert not writing.done(), "the number was free too late"
            await writing
            assert {frames_of(heir) for heir in heirs} == {b""}
            assert {frames_of(both.theirs) for both in stay} == {frames(range(2, 3))}

    play(story)


@pytest.mark.parametrize("way", WAYS)
def test_what_many_have_not_taken_of_a_frame_is_there_once(way: sends.Sends) -> None:
    """A whole dashboard for thousands who come at once. asyncio's own event loop copies what waits; gateways have uvloop."""
    count, size = 16, 2**20

    async def story() -> None:
        async with contextlib.AsyncExitStack() as stack:
            pairs = [await stack.enter_async_context(pair(World())) for _ in range(count)]
            writer = Writer(wall_clock, Faults(), lambda _: None, way)
            big, alone = message(1, size), message(2, size)
            big.frame(False), alone.frame(False)
            tracemalloc.start()
            await writer.write(Out(big, Recipients([both.ours for both in pairs[1:]])))
            pairs[0].ours.send(alone)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert all(both.ours.clogged for both in pairs)
            assert peak < size / 2
            for both in pairs:
                whole = encode_text((alone if both is pairs[0] else big).payload)
                assert await both.hear(len(whole)) == whole

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


def test_a_ping_comes_whole_and_after_what_was_sent_before(play: Play) -> None:
    async def story() -> None:
        async with pair(World()) as both:
            both.ours.ping()
            assert await both.hear(2) == b"\x89\x00"
            filled = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    filled += os.write(both.ours.fd, b"." * 1_000)  # there is no room any more, and nobody knows
            assert both.ours.fd != SHUT
            both.theirs.send(frame(10))
            await asyncio.sleep(0.01)  # until the answer to the first ping has come
            both.ours.ping()
            assert both.ours.clogged, "the rest waits at the transport"
            assert (await both.hear(filled + 2))[-3:] == b".\x89\x00"

    play(story)


def test_whenever_frames_may_go_elsewhere_it_is_counted(play: Play) -> None:
    async def story() -> None:
        seen = [(SHUT, descriptors.changes)]

        def look(socket: WebSocket, *, changed: bool) -> None:
            fd, changes = socket.fd, descriptors.changes
            assert (fd != seen[-1][0]) == changed
            assert not changed or changes > seen[-1][1]
            seen.append((fd, changes))

        async with pair(World()) as both:
            look(both.ours, changed=True)
            while both.ours.fd != SHUT:
                both.ours.send(message(1))
            assert both.ours.clogged
            look(both.ours, changed=True)
            while both.ours.fd == SHUT:
                await both.hear(1_000)
            look(both.ours, changed=True)
            both.ours.send(message(2, 10))
            look(both.ours, changed=False)
            both.ours.close(4000)
            look(both.ours, changed=True)
        async with pair(World()) as both:
            look(both.ours, changed=True)
            both.theirs.send(frame(8, b"\x03\xe8"))
            await until(lambda: both.ours.fd == SHUT)
            look(both.ours, changed=True)
        async with pair(World()) as both:
            look(both.ours, changed=True)
            both.theirs.close()
            await until(lambda: both.ours.fd == SHUT)
            look(both.ours, changed=True)
        async with pair(World()) as both:
            look(both.ours, changed=True)
            both.ours.abort()
            look(both.ours, changed=True)

    play(story)


def test_who_is_gone_is_not_written_to_and_its_number_is_anothers(play: Play) -> None:
    async def story() -> None:
        world = World()
        async with pair(world) as gone:
            number = gone.ours.transport.get_extra_info("socket").fileno()
            gone.theirs.close()
            await until(lambda: world.echo.ended_sessions == 1)
            await asyncio.sleep(0.01)  # until the event loop has closed it
            with contextlib.ExitStack() as stack:
                heirs = [stack.enter_context(end) for _ in range(4) for end in socket.socketpair()]
                assert number in [end.fileno() for end in heirs], "somebody has its number now"
                gone.ours.send(message(1))
                assert [frames_of(end) for end in heirs] == [b""] * len(heirs)

    play(story)


def test_nothing_follows_a_close_frame(play: Play) -> None:
    async def story() -> None:
        async with pair(World()) as both:
            both.ours.send(message(0, 10))
            both.ours.close(4000)
            both.ours.send(message(1, 10))
            both.ours.abort()
            both.ours.send(message(2, 10))
            assert frames_of(both.theirs) == encode_text(message(0, 10).payload) + b"\x88\x02\x0f\xa0"

    play(story)


def frames_of(end: socket.socket) -> bytes:
    """Everything that is there now."""
    end.setblocking(False)
    heard = b""
    while True:
        try:
            more = end.recv(65_536)
        except (BlockingIOError, ConnectionResetError):
            return heard
        if not more:
            return heard
        heard += more


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("never came true")
