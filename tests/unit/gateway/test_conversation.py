import pytest

from services.contract.live import CloseCode
from services.gateway.conversation import Action, Conversation, End, Heard, Send, Text
from services.gateway.frames import Closed, Opcode, encode, encode_close
from tests.unit.gateway.masked import frame


def hear(conversation: Conversation, *parts: bytes) -> list[Action]:
    return list(conversation.receive(b"".join(parts)))


@pytest.fixture
def conversation() -> Conversation:
    return Conversation(8_192)


def test_text_is_handed_on_and_a_ping_is_answered(conversation: Conversation) -> None:
    assert hear(conversation, frame(1, b"{}"), frame(9, b"42"), frame(10, b"unasked")) == [
        Text(b"{}"),
        Send(encode(Opcode.PONG, b"42")),
        Heard(),
    ]


def test_every_frame_is_counted(conversation: Conversation) -> None:
    assert hear(conversation, frame(1, b"{", fin=False), frame(0, b"", fin=False), frame(0, b"}")) == [
        Heard(),
        Heard(),
        Text(b"{}"),
    ]


def test_an_empty_pong_is_heard_between_frames_and_what_looks_like_one_within_a_frame_is_not(
    conversation: Conversation,
) -> None:
    pong = frame(10)
    assert hear(conversation, pong) == [Heard()]
    whole = frame(2, pong, mask=bytes(4))
    for cut in range(1, len(whole)):  # the rest of a frame may be as long as a pong, and look like one
        told = Conversation(8_192)
        assert hear(told, whole[:cut]) + hear(told, whole[cut:]) == hear(Conversation(8_192), whole)
    text = frame(1, b"0123456789", mask=b"\x80abc")  # and so may what follows the first byte of a head
    assert [it for part in (text[:1], text[1:7], text[7:]) for it in hear(conversation, part)] == [Text(b"0123456789")]
    text = frame(1, b"{}" + pong.replace(b"\x8a\x80", b"  "), fin=False)
    assert hear(conversation, text) == [Heard()]
    assert hear(conversation, pong) == [Heard()], "control frames may come between fragments"
    assert [type(action) for action in hear(conversation, frame(0, b""))] == [Text]
    conversation.close(4000)
    assert hear(conversation, pong) == [Heard()]
    hear(conversation, frame(8, b"\x03\xe8"))
    assert hear(conversation, pong) == []


@pytest.mark.parametrize("first", [0xCA, 0xAA, 0x9A, 0x0A])
def test_a_pong_that_is_not_as_it_must_be_ends_it(conversation: Conversation, first: int) -> None:
    assert isinstance(hear(conversation, bytes((first, *frame(10)[1:])))[-1], End)


def test_after_it_was_abandoned_nothing_is_heard(conversation: Conversation) -> None:
    said = conversation.receive(frame(9) * 1_000)
    next(said)
    conversation.abandon()
    assert list(said) == []
    assert hear(conversation, frame(9)) == []


def test_a_close_is_echoed_and_ends_it(conversation: Conversation) -> None:
    close = encode_close(1001, "going")[2:]
    assert hear(conversation, frame(8, close), frame(1, b"late")) == [Send(encode_close(1001)), End(1001, "going")]
    assert conversation.ended
    assert hear(conversation, frame(1, b"later")) == []


def test_a_close_without_a_code_is_answered_with_1000(conversation: Conversation) -> None:
    assert hear(conversation, frame(8)) == [Send(encode_close(1000)), End(Closed.NO_STATUS, "")]


def test_our_close_waits_for_the_other_one(conversation: Conversation) -> None:
    assert conversation.close(4000, "bye") == encode_close(4000, "bye")
    assert conversation.close(4001) == b"", "only one close frame is sent"
    assert hear(conversation, frame(1, b"still talking"), frame(9)) == [Heard(), Heard()]
    assert hear(conversation, frame(8, encode_close(4000)[2:])) == [End(4000, "")]


def test_after_the_other_close_nothing_is_begun(conversation: Conversation) -> None:
    hear(conversation, frame(8))
    assert conversation.close(4000) == b""


def test_binary_is_refused_for_good(conversation: Conversation) -> None:
    send, end = hear(conversation, frame(2, b"\0"))
    assert isinstance(send, Send)
    assert end == End(CloseCode.bad_message, "this protocol is text")


@pytest.mark.parametrize(
    ("data", "code"), [(frame(3), 1002), (frame(1, b"\xff"), 1007), (frame(1, b"x" * 9_000), 1009), (frame(8, b"\x03"), 1002)]
)
def test_broken_frames_fail_the_connection_with_a_code(conversation: Conversation, data: bytes, code: int) -> None:
    send, end = hear(conversation, data)
    assert isinstance(end, End)
    assert end.code == code
    assert send == Send(encode_close(code, end.reason))


def test_broken_frames_after_our_close_end_it_without_another_one(conversation: Conversation) -> None:
    conversation.close(4000)
    assert hear(conversation, frame(3)) == [End(4000, "")]
