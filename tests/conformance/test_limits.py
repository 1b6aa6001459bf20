"""What Autobahn's groups 9 and 10 describe: large messages, in few or many fragments and pieces. A client may say 8,192 bytes; the server any number."""

import pytest

from tests.conformance.peer import BINARY, PING, PONG, TEXT, Peer
from tests.conformance.talk import BYE, DEFLATE, LARGE, Case, Talk, asking, closed, fragments, heard, last, more, pong, text
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.masked import frame

LIMIT = 8_192
FULL = asking("full", LIMIT)
MEGABYTE = 1 << 20

WHOLE: dict[str, Case] = {
    **{f"{LIMIT} bytes in fragments of {size}": (fragments(FULL, size), [heard("full")]) for size in (64, 256, 1_000, 1_300, 4_096, 8_191)},
    f"{LIMIT} bytes and a ping after each fragment": (
        text(FULL[:4_096], fin=False) + frame(PING, b"1") + more(FULL[4_096:8_000]) + frame(PING, b"2") + last(FULL[8_000:]),
        [pong(b"1"), pong(b"2"), heard("full")],
    ),
    "many messages of the full size": (text(FULL) * 5, [heard("full")] * 5),
    "one byte too many": (text(FULL + b" "), [closed(1009)]),
    "one byte too many in the last fragment": (text(FULL, fin=False) + last(b" "), [closed(1009)]),
    "too many bytes in small fragments": (fragments(FULL + b" " * 1_000, 1_000), [closed(1009)]),
    "too many bytes of binary": (frame(BINARY, bytes(LIMIT + 1)), [closed(1009)]),
    "what came before too many bytes is answered": (text(asking("a")) + text(FULL + b" "), [heard("a"), closed(1009)]),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE.values(), ids=WHOLE)
def test_messages_up_to_the_limit_arrive_whole(talk: Talk, case: Case) -> None:
    talk.holds(case)


LARGER = {
    "64 KiB": text(bytes(1 << 16)),
    "a megabyte": text(bytes(MEGABYTE)),
    "a megabyte of binary": frame(BINARY, bytes(MEGABYTE)),
    "four megabytes": text(bytes(4 * MEGABYTE)),
    "a megabyte in fragments of 64 KiB": fragments(bytes(MEGABYTE), 1 << 16),
    "a megabyte in fragments of 1,300 bytes": fragments(bytes(MEGABYTE), 1_300),
}


@pytest.mark.parametrize("sent", LARGER.values(), ids=LARGER)
@pytest.mark.parametrize("step", [0, 997, 65_536], ids=["at once", "in pieces of 997", "in pieces of 64 KiB"])
def test_the_answer_to_what_is_too_large_reaches_who_is_still_sending(gateway: GatewayProcess, sent: bytes, step: int) -> None:
    with Peer(gateway.port, step) as peer:
        peer.open()
        peer.send(sent)
        assert [(frame.opcode, frame.code) for frame in peer.all()] == [(8, 1009)]


def test_the_head_is_enough_to_refuse_what_is_too_large(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.open()
        peer.send(text(bytes(MEGABYTE))[:14])
        assert [frame.code for frame in peer.all()] == [1009]


def test_empty_fragments_may_go_on_for_long(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.open()
        peer.send(text(b"", fin=False) + more(b"") * 20_000 + last(asking("patient")) + BYE)
        assert peer.hear().message["dashboard"] == "patient"


@pytest.mark.parametrize("path", ["/api/v1/live", f"/api/v1/plotly?dashboard={LARGE}&panel=cpu"], ids=["live", "plotly"])
def test_json_that_is_nested_deeply_breaks_nothing(gateway: GatewayProcess, path: str) -> None:
    with Peer(gateway.port) as peer:
        peer.open(path)
        peer.send(text(b'{"type":"token","a":' + b"[" * 8_000) + frame(PING, b"there") + BYE)
        heard = peer.all()
        assert [each.payload for each in heard if each.opcode == PONG] == [b"there"]
        assert heard[-1].code == 1000


@pytest.mark.parametrize("extensions", [{}, {"Sec-WebSocket-Extensions": DEFLATE}], ids=["plain", "deflated"])
def test_the_server_s_large_messages_come_in_one_frame(gateway: GatewayProcess, extensions: dict[str, str]) -> None:
    with Peer(gateway.port) as peer:
        peer.open(**extensions)
        peer.send(text(b'{"type":"subscribe","dashboard":"%b"}' % LARGE.encode()))
        while (frame := peer.hear()).message["type"] == "status":
            pass
        snapshot = frame.message
        assert (frame.opcode, snapshot["type"]) == (TEXT, "snapshot")
        assert len(frame.text) > 100_000
        cells = [cell for view in snapshot["views"] for _, groups, _ in view["cells"] for cell in groups]
        assert len(cells) > 10_000
