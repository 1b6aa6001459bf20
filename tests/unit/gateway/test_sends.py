"""One frame to many sockets: compiled or not, the kernel is given the same."""

import contextlib
import socket
import subprocess
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from services.gateway import sends

_COMPILED = sends.compiled()
assert _COMPILED is not None, "`make test` compiles it"
WAYS = [pytest.param(sends.in_python, id="python"), pytest.param(_COMPILED, id="compiled")]
FRAME = bytes(range(256)) * 40  # zeros are nothing special
NEVER = 2**62
"""It is never so late."""


def descriptors(ends: Iterable[socket.socket]) -> "array[int]":
    return array("i", [end.fileno() for end in ends])


class Ends:
    """Pairs of sockets, ours do not block."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = (self._stack.enter_context(end) for end in socket.socketpair())
        for end in (ours, theirs):
            end.setblocking(False)
        return ours, theirs


@pytest.fixture
def ends() -> Iterator[Ends]:
    with contextlib.ExitStack() as stack:
        yield Ends(stack)


@pytest.mark.parametrize("way", WAYS)
def test_all_get_the_whole_frame(ends: Ends, way: sends.Sends) -> None:
    pairs = [ends.pair() for _ in range(100)]
    assert way(descriptors(ours for ours, _ in pairs), 0, FRAME, NEVER) == (100, None)
    assert all(theirs.recv(2 * len(FRAME)) == FRAME for _, theirs in pairs)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_not_taken_is_told_of_each(ends: Ends, way: sends.Sends) -> None:
    (narrow, reads), (full, _), (gone, left), (wide, hears) = (ends.pair() for _ in range(4))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    with contextlib.suppress(BlockingIOError):
        while True:
            full.send(FRAME)
    left.close()
    tried, taken = way(descriptors((narrow, full, gone, wide)), 0, FRAME, NEVER)
    assert tried == 4
    assert taken is not None
    assert list(taken[1:]) == [0, 0, len(FRAME)]
    assert 0 <= taken[0] <= len(FRAME)
    assert reads.recv(len(FRAME)) == FRAME[: taken[0]] if taken[0] else True
    assert hears.recv(len(FRAME)) == FRAME


@pytest.mark.parametrize("way", WAYS)
def test_nobody_is_sent_nothing(way: sends.Sends) -> None:
    assert way(array("i"), 0, FRAME, NEVER) == (0, None)


@pytest.mark.parametrize("way", WAYS)
def test_when_the_time_is_over_the_others_wait(ends: Ends, way: sends.Sends) -> None:
    pairs = [ends.pair() for _ in range(2 * sends.CHUNK + 1)]
    fds = descriptors(ours for ours, _ in pairs)
    assert way(fds, 0, FRAME, 0) == (sends.CHUNK, None)
    assert [len(read(theirs)) for _, theirs in pairs] == [len(FRAME)] * sends.CHUNK + [0] * (sends.CHUNK + 1)
    assert way(fds, sends.CHUNK, FRAME, NEVER) == (sends.CHUNK + 1, None)


def read(end: socket.socket) -> bytes:
    try:
        return end.recv(2 * len(FRAME))
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("way", WAYS)
def test_it_is_told_also_of_a_part_who_did_not_take_all(ends: Ends, way: sends.Sends) -> None:
    (full, _), *others = (ends.pair() for _ in range(2 * sends.CHUNK))
    with contextlib.suppress(BlockingIOError):
        while True:
            full.send(FRAME)
    tried, taken = way(descriptors((full, *(ours for ours, _ in others))), 0, FRAME, 0)
    assert tried == sends.CHUNK
    assert taken is not None
    assert [*taken] == [0] + [len(FRAME)] * (sends.CHUNK - 1)


def test_where_there_is_no_library_or_another_version_of_it_python_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sends.compiled(tmp_path / "none.so") is None
    (tmp_path / "text.so").write_text("no library")
    assert sends.compiled(tmp_path / "text.so") is None
    other = tmp_path / "other.c"
    other.write_text(sends.LIBRARY.with_name("sends.c").read_text().replace(sends.FUNCTION, "tideboard_sends_0"))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "other.so", other], check=True)
    assert sends.compiled(tmp_path / "other.so") is None
    monkeypatch.setattr(sends, "compiled", lambda: None)
    assert sends.best() is sends.in_python
