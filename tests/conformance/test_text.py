"""RFC 6455 8.1: text is UTF-8. What Autobahn's group 6 describes: what is not fails with 1007, and no later than it can be known."""

from itertools import product

import pytest

from tests.conformance.peer import PING, Peer
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

# The sequences of Markus Kuhn's decoder test, as Autobahn numbers them. Which of them are UTF-8 is Python's own decoder's to say.
_LAST_MISSING = [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80",
                 b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"]  # fmt: skip
_GREEK = "κ\u1f79σμε".encode()  # with its accent as one character of three bytes
_SURROGATES = ["d800", "db7f", "db80", "dbff", "dc00", "df80", "dfff"]
SEQUENCES: dict[str, list[bytes]] = {
    "6.5": [*(f"hello{sign}world".encode() for sign in "$¢€\U00024b62"), _GREEK],
    "6.6": [_GREEK[:at] for at in range(1, len(_GREEK) + 1)],
    "6.7": [char.encode() for char in "\0\u0080\u0800\U00010000"],
    "6.8": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    "6.9": [char.encode() for char in "\u007f\u07ff\uffff\U0010ffff"],
    "6.10": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    "6.11": [*(char.encode() for char in "\ud7ff\ue000\ufffd\U0010ffff"), b"\xf4\x90\x80\x80"],
    "6.12": [b"\x80", b"\xbf", *((b"\x80\xbf" * 3)[:size] for size in range(2, 7)), bytes(range(0x80, 0xBF))],
    "6.13": [
        b"".join(bytes((head, 0x20)) for head in range(first, end))
        for first, end in ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
    ],
    "6.14": _LAST_MISSING,
    "6.15": [b"".join(_LAST_MISSING)],
    "6.16": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"],
    "6.18": [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"],
    "6.19": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"],
    "6.20": [chr(int(code, 16)).encode("utf-8", "surrogatepass") for code in _SURROGATES],
    "6.21": [
        (chr(high) + chr(low)).encode("utf-8", "surrogatepass")
        for high, low in product((0xD800, 0xDB7F, 0xDB80, 0xDBFF), (0xDC00, 0xDFFF))
    ],
    "6.22": [chr(plane * 0x10000 + 0xFFFE + last_).encode() for plane, last_ in product(range(17), (0, 1))],
    "6.23": [char.encode() for char in "\ufff9\ufffa\ufffb\ufffc\ufffd\ufffe\uffff"],
}  # fmt: skip
NUMBERED = {f"{group}.{n}": said for group, all_ in SEQUENCES.items() for n, said in enumerate(all_, 1)}

EDITED = _GREEK + b"\xed\xa0\x80edited"

CASES: dict[str, Case] = {
    **{f"valid: {what}": (text(asking(f"a{said}z")), [heard(f"a{said}z")]) for what, said in VALID.items()},
    **{f"valid, in fragments of a byte: {what}": (fragments(asking(said), 1), [heard(said)]) for what, said in VALID.items()},
    **{f"valid, split at {at}": (text(SPLIT[:at], fin=False) + last(SPLIT[at:]), [heard("κό€😀é")]) for at in range(50, len(SPLIT))},
    **{f"invalid: {what}": (text(b'"' + said + b'"'), [closed(1007)]) for what, said in INVALID.items()},
    **{f"invalid at the end: {what}": (text(b"ab" + said), [closed(1007)]) for what, said in INVALID.items()},
    **{f"invalid, in fragments of a byte: {what}": (fragments(said, 1), [closed(1007)]) for what, said in INVALID.items()},
    "invalid after a valid beginning": (text(EDITED), [closed(1007)]),
    "invalid after a valid beginning, in fragments of a byte": (fragments(EDITED, 1), [closed(1007)]),
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


@pytest.mark.parametrize("said", NUMBERED.values(), ids=NUMBERED)
def test_a_sequence_is_text_or_fails(gateway: GatewayProcess, said: bytes) -> None:
    """Alone in its message, and between the letters of a name where it is text."""
    try:
        name = f"a{said.decode()}z"
    except UnicodeDecodeError:
        Talk(gateway.port, 0).holds((text(said), [closed(1007)]))
    else:
        Talk(gateway.port, 0).holds((text(said) + text(asking(name)), [BAD, heard(name)]))


_TOO_FAR = b"\xf4\x90\x80\x80"  # after the last character
_FRAME = text(_GREEK + _TOO_FAR + b"edited")
_GREEK_ENDS = len(_FRAME) - len(_TOO_FAR + b"edited")
LATER: dict[str, tuple[bytes, bytes, bool]] = {
    "in the second fragment": (text(_GREEK, fin=False), more(_TOO_FAR), True),
    "by the first byte of the second fragment": (text(_GREEK + b"\xf4", fin=False), more(b"\x90"), True),
    "in the second part of a frame": (_FRAME[:_GREEK_ENDS], _FRAME[_GREEK_ENDS : _GREEK_ENDS + 4], False),
    "by one byte of a frame": (_FRAME[: _GREEK_ENDS + 1], _FRAME[_GREEK_ENDS + 1 : _GREEK_ENDS + 2], False),
}


@pytest.mark.parametrize(("good", "bad", "between"), LATER.values(), ids=LATER)
def test_what_is_wrong_fails_when_it_comes_and_not_before(
    gateway: GatewayProcess, good: bytes, bad: bytes, between: bool
) -> None:
    """between: a ping may come after the good part, as that is a whole frame."""
    with Peer(gateway.port) as peer:
        peer.open()
        peer.send(good + (frame(PING, b"so far") if between else b""))
        if between:
            assert peer.hear().payload == b"so far"
        peer.send(bad)
        assert [(each.opcode, each.code) for each in peer.all()] == [(8, 1007)]


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
