"""The golden frames are what the contract writes, and read back as what they were. vitest reads the same files."""

import json
from pathlib import Path

import pytest

from services.contract import live
from services.contract.history import Cells
from tests.golden.make import FRAMES

GOLDEN = Path(__file__).parents[2] / "golden"


def test_there_is_one_file_for_each_frame_and_no_other() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(FRAMES)


@pytest.mark.parametrize("name", FRAMES)
def test_a_golden_frame_is_what_is_written(name: str) -> None:
    assert (GOLDEN / f"{name}.json").read_bytes() == live.encode(FRAMES[name]) + b"\n"


@pytest.mark.parametrize("name", FRAMES)
def test_a_golden_frame_reads_back(name: str) -> None:
    data = (GOLDEN / f"{name}.json").read_bytes()
    read = live.decode_client(data) if name.startswith("client_") else live.decode_server(data)
    assert read == FRAMES[name]


def test_every_message_has_a_golden_frame() -> None:
    shown = {type(frame) for frame in FRAMES.values()}
    assert shown == {*live.ClientMessage.__args__, *live.ServerMessage.__args__}


def test_nan_becomes_null() -> None:
    delta = live.Delta("host", "e", 1, [live.ViewDelta(0, 0, 1, 0, [], [Cells(0, [0], [float("nan")])])])
    assert json.loads(live.encode(delta))["views"][0][5] == [[0, [0], [None]]]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"type":"snapshot"}', '{"type":"subscribe"}', '{"type":"subscribe","dashboard":7}', '{"type":"ping"'],
    ids=repr,
)
def test_what_is_no_message_of_a_client_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(live.LiveError) as caught:
        live.decode_client(text)
    assert str(caught.value)


@pytest.mark.parametrize(
    "data", [b'{"type":"ping","a":' + b"[" * 8_000, b'{"type":"\xff"}'], ids=["nested deeply", "not UTF-8"]
)
def test_what_no_decoder_can_bear_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(live.LiveError, match=r".+"):
        live.decode_client(data)


def test_a_reader_ignores_fields_that_a_later_version_adds() -> None:
    assert live.decode_client('{"type":"subscribe","dashboard":"host","colour":"red"}') == live.Subscribe("host")


def test_close_codes_say_whether_to_come_back() -> None:
    back = {code.name for code in live.CloseCode if 4000 <= code < 4500}
    assert back == {"going_away", "too_slow", "no_pong", "overloaded", "token_ended", "too_many_messages"}
    assert all(4500 <= code < 5000 for code in live.CloseCode if code.name not in back)


def test_a_token_is_not_told_by_who_tells_of_messages() -> None:
    message = live.decode_client('{"type":"token","token":"aaa.bbb.ccc"}')
    assert message == live.Token("aaa.bbb.ccc")
    assert "aaa" not in f"{message!r} {message}"
