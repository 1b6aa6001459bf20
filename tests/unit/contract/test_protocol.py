"""docs/protocol.md has every code that gateways say, and no other, and an example of every message of a client."""

import re
from pathlib import Path
from typing import get_args

from services.contract import live

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()


def table(head: str) -> list[list[str]]:
    """The cells of the one table that begins so."""
    (after,) = PAGE.split(f"\n{head}\n")[1:]
    lines = re.match(r"(?:\|.*\n)+", after)
    assert lines is not None
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[0].splitlines()[1:]]


def test_every_close_code_is_on_the_page() -> None:
    shown = {(int(code), name) for code, name, _ in table("| code | name | meaning |")}
    assert shown == {(code.value, code.name) for code in live.CloseCode}


def test_every_code_of_an_error_is_on_the_page() -> None:
    assert [code.strip("`") for code, _ in table("| code | meaning |")] == list(get_args(live.ErrorCode))


def test_every_code_of_an_http_error_is_on_the_page() -> None:
    assert sorted(code.strip("`") for _, code, _ in table("| status | code | when |")) == sorted(get_args(live.HttpErrorCode))


def test_every_message_of_a_client_is_on_the_page() -> None:
    examples = [example.strip("`").replace("...", "") for example, _ in table("| message | meaning |")]
    assert [type(live.decode_client(example)) for example in examples] == [*live.ClientMessage.__args__]
