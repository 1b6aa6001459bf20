"""Which of our tests covers which case of the Autobahn test suite's groups 1 to 7, 9, 10, 12 and 13 (case numbers of its release 25.10).

Its client expects a server that echoes, and this one does not: a message that arrived is answered by an error that names the
dashboard in it (talk), binary is refused with 4500, and more than 8,192 bytes with 1009. What is asked of frames is the same.

A place is a test and one of its ids; without an id it is the case's own number. That all of them run is tests in test_autobahn.
"""

from collections.abc import Iterable, Mapping
from typing import Final

Place = tuple[str, str]
"""Of a test, as pytest names it in this folder, and what its id begins or ends with; empty: it has none."""

COUNTS: Final[Mapping[str, int]] = {
    "1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20, "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4,
    "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1,
    "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7,
    "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2,
    "9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6, "10.1": 1,
    **{f"12.{kind}": 18 for kind in range(1, 6)}, **{f"13.{offer}": 18 for offer in range(1, 8)},
}  # fmt: skip
"""How many cases each group has. Group 8 has none, and 9.9 is not in the suite's list of those that it runs."""

_FRAMES: Final = "test_framing.py::test_frames_are_read_as_they_are_written"
_PINGS: Final = "test_framing.py::test_pings_are_answered_with_what_they_carry"
_RESERVED: Final = "test_framing.py::test_reserved_bits_mean_nothing_until_they_are_agreed_on"
_OPCODES: Final = "test_framing.py::test_reserved_opcodes_fail_the_connection"
_FRAGMENTS: Final = "test_framing.py::test_fragments_are_put_together"
_AT_ONCE: Final = "test_framing.py::test_a_ping_between_fragments_is_answered_before_the_rest_of_the_message_is_there"
_TEXT: Final = "test_text.py::test_text_is_utf_8"
_SEQUENCE: Final = "test_text.py::test_a_sequence_is_text_or_fails"
_LATER: Final = "test_text.py::test_what_is_wrong_fails_when_it_comes_and_not_before"
_CLOSE: Final = "test_closing.py::test_a_close_is_answered_and_nothing_after_it"
_LARGE: Final = "test_sizes.py::test_what_is_too_large_is_refused_and_the_refusal_arrives"
_AFTER_LARGE: Final = "test_sizes.py::test_what_follows_a_message_that_is_too_large_is_not_answered"
_ROUNDS: Final = "test_sizes.py::test_a_thousand_messages_are_answered_one_by_one"
_BINARY_ROUNDS: Final = "test_sizes.py::test_of_a_thousand_binary_messages_the_first_is_refused"
_CONTENTS: Final = "test_payloads.py::test_contents_of_all_kinds_arrive"
_OFFERS: Final = "test_payloads.py::test_messages_arrive_under_every_offer"

_EMPTY: Final = "an empty text is a message, though none of the protocol's"
_NORMAL: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
_NEVER: Final = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)


def _numbered(group: str, test: str, ids: Iterable[str]) -> dict[str, Place]:
    """The cases of a group from the first on."""
    return {f"{group}.{n}": (test, id_) for n, id_ in enumerate(ids, 1)}


def _same(test: str, *groups: str) -> dict[str, Place]:
    """Cases whose number is the id of what covers them."""
    return {f"{group}.{n}": (test, f"{group}.{n}") for group in groups for n in range(1, COUNTS[group] + 1)}


def _by_row(test: str, *groups: str) -> dict[str, Place]:
    """Cases whose group and number are the two ids of what covers them."""
    return {f"{group}.{n}": (test, f"{group}-{n}") for group in groups for n in range(1, COUNTS[group] + 1)}


COVERED: Final[Mapping[str, Place]] = {
    **_numbered("1.1", _FRAMES, [_EMPTY, *(f"a text of {size} bytes" for size in (125, 126, 127, 128))]),
    **{case: (_LARGE, case) for case in ("1.1.6", "1.1.7", "1.1.8", "1.2.6", "1.2.7", "1.2.8")},
    **_numbered("1.2", _FRAMES, (f"binary of {size} bytes is refused for good" for size in (0, 125, 126, 127, 128))),
    **_numbered("2", _PINGS, [
        "an empty ping", "a ping with text", "a ping with bytes that are no text", "a ping of 125 bytes", "a ping of 126 bytes",
        "byte by byte-a ping of 125 bytes", "a pong that nobody asked for", "a pong with a payload", "a pong and then a ping",
        "ten pings are answered in order", "byte by byte-ten pings are answered in order",
    ]),
    **_numbered("3", _RESERVED, [
        "reserved bits 1 of a text", "reserved bits 2 after a good message and before a ping",
        "frame by frame-reserved bits 3 after a good message and before a ping",
        "byte by byte-reserved bits 4 after a good message and before a ping",
        "reserved bits 5 of binary", "reserved bits 6 of a ping", "reserved bits 7 of a close",
    ]),
    **{
        f"4.{group}.{n}": (_OPCODES, f"opcode {first + n} {having}")
        for group, first in ((1, 2), (2, 10))
        for n, having in enumerate((
            "without a payload", "with a payload", "after a message and before a ping",
            "with a payload, after a message and before a ping", "with a payload, after a message and before a ping",
        ), 1)
    },
    **_numbered("5", _FRAGMENTS, [
        "a ping in two fragments", "a pong in two fragments",
        *(f"{how}-a text in two fragments" for how in ("at once", "frame by frame", "byte by byte")),
        *(f"{how}-a ping between fragments is answered at once" for how in ("at once", "frame by frame", "byte by byte")),
        *(f"{how}-a last continuation of nothing" for how in ("at once", "frame by frame", "byte by byte")),
        *(f"{how}-a continuation of nothing" for how in ("at once", "frame by frame", "byte by byte")),
        "a continuation after a message in fragments, and another message",
        "twice a continuation of nothing and a message in fragments",
        "twice a last continuation of nothing and a message in fragments",
        "a text inside of a text",
    ]),
    "5.19": (_AT_ONCE, "at once"),
    "5.20": (_AT_ONCE, "frame by frame"),
    "6.1.1": (_FRAMES, _EMPTY),
    "6.1.2": (_FRAGMENTS, "a text of empty fragments only"),
    "6.1.3": (_FRAGMENTS, "a text between empty fragments"),
    **_numbered("6.2", _TEXT, [
        "valid: a mixture", "valid, split at 51", "valid, in fragments of a byte: a mixture", "valid, in fragments of a byte: Greek",
    ]),
    **_numbered("6.3", _TEXT, ["invalid after a valid beginning", "invalid after a valid beginning, in fragments of a byte"]),
    **_numbered("6.4", _LATER, [
        "in the second fragment", "by the first byte of the second fragment", "in the second part of a frame", "by one byte of a frame",
    ]),
    **_same(_SEQUENCE, *(f"6.{group}" for group in range(5, 24))),
    **_numbered("7.1", _CLOSE, [
        "a message and a close", "two closes", "a ping after the close", "a message after the close",
        "the rest of a message after the close",
    ]),
    "7.1.6": (_AFTER_LARGE, ""),
    **_numbered("7.3", _CLOSE, [
        "no code", "a payload of one byte", "a code without a reason", "a code and a reason", "the longest reason",
        "a reason that is too long",
    ]),
    "7.5.1": (_CLOSE, "a reason that is not UTF-8"),
    **_numbered("7.7", _CLOSE, (f"code {code} may be sent" for code in _NORMAL)),
    **_numbered("7.9", _CLOSE, (f"code {code} may not be sent" for code in _NEVER)),
    **_numbered("7.13", _CLOSE, ("code 5000 may not be sent", "code 65535 may not be sent")),
    **_same(_LARGE, *(f"9.{group}" for group in range(1, 7)), "10.1"),
    **_same(_ROUNDS, "9.7"),
    **_same(_BINARY_ROUNDS, "9.8"),
    **_by_row(_CONTENTS, *(f"12.{kind}" for kind in range(1, 6))),
    **_by_row(_OFFERS, *(f"13.{offer}" for offer in range(1, 8))),
}  # fmt: skip
