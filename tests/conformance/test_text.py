"""RFC 6455 8.1: text is UTF-8. What Autobahn's group 6 describes: what is not fails with 1007, and no later than it can be known."""

import pytest

from tests.conformance.peer import Peer
from tests.conformance.talk import BAD, Case, Talk, asking, closed, fragments, heard, last, more, text
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.masked import frame

VALID = {
    "Greek": "κόσμε",
    "a mixture": "Hello-µ@ßöäüàá-UTF-8!!",
    "the first of two bytes": "\u0080",
    "the first of three": "\u0800",
    "the first of four": "\U00010000",
    "the last of one byte": "\u007f",
    "the last of two": "\u07ff",
    "the last of three": "\uffff",
    "the last of all": "\U0010ffff",
    "before the surrogates": "\ud7ff",
    "after the surrogates": "\ue000",
    "the replacement character": "\ufffd",
    "characters that are none": "\ufffe\U0001fffe\U0010fffe",
    "a flag of two": "🇪🇺",
    "right to left": "שלום",
}
SPLIT = asking("κό€😀é")

INVALID = {
    "a continuation alone": b"\x80",
    "the last continuation alone": b"\xbf",
    "seven continuations": b"\x80\xbf\x80\xbf\x80\xbf\x80",
    "all continuations": bytes(range(0x80, 0xC0)),
    "heads of two without the rest": b"".join(bytes((head, 0x20)) for head in range(0xC0, 0xE0)),
    "heads of three without the rest": b"".join(bytes((head, 0x20)) for head in range(0xE0, 0xF0)),
    "heads of four without the rest": b"".join(bytes((head, 0x20)) for head in range(0xF0, 0xF8)),
    "two bytes that are one": b"\xc2",
    "three bytes that are two": b"\xe2\x82",
    "four bytes that are three": b"\xf0\x9f\x98",
    "three bytes that are two before others": b"\xe2\x82ab",
    "FE": b"\xfe",
    "FF": b"\xff",
    "FE and FF": b"\xfe\xfe\xff\xff",
    "a slash in two bytes": b"\xc0\xaf",
    "a slash in three": b"\xe0\x80\xaf",
    "a slash in four": b"\xf0\x80\x80\xaf",
    "the longest way to write 7F": b"\xc1\xbf",
    "the longest way to write 7FF": b"\xe0\x9f\xbf",
    "the longest way to write FFFF": b"\xf0\x8f\xbf\xbf",
    "zero in two bytes": b"\xc0\x80",
    "zero in three": b"\xe0\x80\x80",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "after the last character": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "the greatest of six bytes": b"\xfd\xbf\xbf\xbf\xbf\xbf",
}

CASES: dict[str, Case] = {
    **{f"valid: {what}": (text(asking(f"a{said}z")), [heard(f"a{said}z")]) for what, said in VALID.items()},
    **{f"valid, in fragments of a byte: {what}": (fragments(asking(said), 1), [heard(said)]) for what, said in VALID.items()},
    **{f"valid, split at {at}": (text(SPLIT[:at], fin=False) + last(SPLIT[at:]), [heard("κό€😀é")]) for at in range(50, len(SPLIT))},
    **{f"invalid: {what}": (text(b'"' + said + b'"'), [closed(1007)]) for what, said in INVALID.items()},
    **{f"invalid at the end: {what}": (text(b"ab" + said), [closed(1007)]) for what, said in INVALID.items()},
    **{f"invalid, in fragments of a byte: {what}": (fragments(said, 1), [closed(1007)]) for what, said in INVALID.items()},
    "a character that ends with its fragment but not with the message": (text(b"\xce", fin=False) + last(b"x"), [closed(1007)]),
    "a ping inside of a character": (
        text(b"\xce", fin=False) + frame(10, b"pong") + last(b"\xba"),
        [BAD],
    ),
    "zeros are characters": (text(b"\0\0\0"), [BAD]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_text_is_utf_8(talk: Talk, case: Case) -> None:
    talk.holds(case)


HOPELESS = {
    "in a fragment that is not the last": text(b"\xce\xba\xf4\x90\x80\x80", fin=False),
    "in a later fragment": text(b"\xce", fin=False) + more(b"\xbaab\xf4\x90"),
    "by a fragment that does not go on with a character": text(b"\xce", fin=False) + more(b"ed"),
    "in a frame of which more is to come": text(b"\xce\xba\xf4\x90" + b"x" * 5_000)[:20],
    "by the first byte of a frame": text(b"\xff" * 5_000)[:9],
}


@pytest.mark.parametrize("sent", HOPELESS.values(), ids=HOPELESS)
@pytest.mark.parametrize("step", [0, 1], ids=["at once", "byte by byte"])
def test_what_cannot_become_text_fails_before_the_message_ends(gateway: GatewayProcess, sent: bytes, step: int) -> None:
    with Peer(gateway.port, step) as peer:
        peer.open()
        peer.send(sent)
        assert [(frame.opcode, frame.code) for frame in peer.all()] == [(8, 1007)]
