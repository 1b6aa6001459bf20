"""The answers that the fuzzing of sockets judges are all that were given, and nothing else."""

import pytest

from tests.fuzz.answers import NoAnswerError, answers

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
UNCHANGED = b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
QUOTING = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n{%b" % (len(FAILED) + 1, FAILED)
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
SOCKET = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"


@pytest.mark.parametrize(
    ("heard", "statuses"),
    [
        (b"", []),
        (HELLO, [200]),
        (HELLO + FAILED, [200, 500]),
        (CHUNKED + HELLO + FAILED, [200, 200, 500]),
        (HEAD + FAILED, [200, 500]),
        (HEAD, [200]),
        (UNCHANGED + FAILED + HELLO, [304, 500, 200]),
        (GO_ON + FAILED, [100, 500]),
        (QUOTING + HELLO, [200, 200]),
        (CHUNKED.replace(b"5\r\nhello", b"%x\r\n%b" % (len(FAILED), FAILED)), [200]),
        (SOCKET + FAILED, [101]),
        (STREAM, [200]),
        (HELLO + FAILED[:40], [200, 500]),
        (HELLO + FAILED[:7], [200]),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\nno length", [503]),
    ],
)
def test_every_answer_has_its_status_whatever_is_in_bodies(heard: bytes, statuses: list[int]) -> None:
    assert [answer.status for answer in answers(heard)] == statuses


@pytest.mark.parametrize(
    ("heard", "whole"),
    [(HELLO, True), (HELLO[:-1], False), (HELLO[:20], False), (CHUNKED, True), (STREAM, False), (SOCKET, True), (HEAD, True)],
)
def test_an_answer_is_whole_when_all_of_its_body_has_come(heard: bytes, whole: bool) -> None:
    assert [answer.whole for answer in answers(heard)] == [whole]


@pytest.mark.parametrize(
    "heard", [b"hello", b"HTTP/2 200\r\n\r\n", HELLO + b"lo", HELLO + b"\r\n\r\n", CHUNKED[:-5] + b"x\r\n"]
)
def test_what_is_no_answer_is_told(heard: bytes) -> None:
    with pytest.raises(NoAnswerError):
        list(answers(heard))
