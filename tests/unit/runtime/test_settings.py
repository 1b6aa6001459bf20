"""Settings: what the environment and flags say, and what a person is told when they say nonsense."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from services.runtime.settings import PORT, SettingsError, describe, load, parse_flags, setting


@dataclass(frozen=True, slots=True)
class Example:
    """One of each kind."""

    name: str = setting("x", "TIDEBOARD_NAME", "A name")
    count: int = setting(3, "TIDEBOARD_COUNT", "A number", "things")
    share: float = setting(0.5, "TIDEBOARD_SHARE", "A share", between=(0, 1))
    quick: bool = setting(False, "TIDEBOARD_QUICK", "A truth")
    place: Path = setting(Path("here"), "TIDEBOARD_PLACE", "A path")
    words: tuple[str, ...] = setting((), "TIDEBOARD_WORDS", "Words")
    color: str = setting("red", "TIDEBOARD_COLOR", "One of a few", choices=("red", "blue"))
    port: int = setting(80, "TIDEBOARD_PORT", "A port", between=PORT)
    servers: str = setting("", "KAFKA_SERVERS", "Not ours by name")


def test_defaults_stand_where_nothing_is_said() -> None:
    assert load(Example, {}) == Example()


def test_each_kind_is_read() -> None:
    environ = {
        "TIDEBOARD_NAME": "y", "TIDEBOARD_COUNT": " 4 ", "TIDEBOARD_SHARE": "0.25", "TIDEBOARD_QUICK": "Yes",
        "TIDEBOARD_PLACE": "/there", "TIDEBOARD_WORDS": "a, b,,c", "TIDEBOARD_COLOR": "blue", "UNKNOWN": "1",
    }  # fmt: skip
    found = load(Example, environ)
    assert found == Example("y", 4, 0.25, True, Path("/there"), ("a", "b", "c"), "blue")


def test_a_flag_goes_before_the_environment() -> None:
    assert load(Example, {"TIDEBOARD_COUNT": "4"}, {"TIDEBOARD_COUNT": "5"}).count == 5


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("TIDEBOARD_COUNT", "abc", "TIDEBOARD_COUNT: 'abc' is not a whole number"),
        ("TIDEBOARD_COUNT", "1.5", "TIDEBOARD_COUNT: '1.5' is not a whole number"),
        ("TIDEBOARD_SHARE", "much", "TIDEBOARD_SHARE: 'much' is not a number"),
        ("TIDEBOARD_SHARE", "2", "TIDEBOARD_SHARE: '2' is not between 0 and 1"),
        ("TIDEBOARD_SHARE", "nan", "TIDEBOARD_SHARE: 'nan' is not between 0 and 1"),
        ("TIDEBOARD_QUICK", "maybe", "TIDEBOARD_QUICK: 'maybe' is not true or false"),
        ("TIDEBOARD_COLOR", "green", "TIDEBOARD_COLOR: 'green' is not one of red, blue"),
        ("TIDEBOARD_PORT", "70000", "TIDEBOARD_PORT: '70000' is not between 0 and 65535"),
    ],
)
def test_nonsense_is_refused_by_name_value_and_what_is_expected(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Example, {variable: value})
    assert str(caught.value) == sentence


def test_a_wrong_flag_is_named_as_it_was_written() -> None:
    with pytest.raises(SettingsError, match=r"--count: 'abc' is not a whole number"):
        load(Example, {}, {"TIDEBOARD_COUNT": "abc"})


def test_flags_are_the_variables_names() -> None:
    assert [described.flag for described, _ in describe(Example)][-2:] == ["--port", "--kafka-servers"]


def test_flags_are_read_in_both_forms() -> None:
    found = parse_flags(["--count", "7", "--name=a=b", "--kafka-servers", "h:1"], [Example])
    assert found == {"TIDEBOARD_COUNT": "7", "TIDEBOARD_NAME": "a=b", "KAFKA_SERVERS": "h:1"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--cuont", "7"], "--cuont is not a setting"), (["--count"], "--count needs a value"), (["7"], "7 is not a setting")],
)
def test_a_flag_that_is_not_one_is_refused(arguments: list[str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        parse_flags(arguments, [Example])
