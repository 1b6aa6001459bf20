"""Settings: frozen dataclasses whose fields know their variable, their unit and why they are there.

A setting is an environment variable, and the same name as a flag. Nothing here reads the environment: `load` is given one
(services.__main__ gives it), and docs/settings.md is printed from the same fields.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

Settings = TypeVar("Settings")

_META: Final = "tideboard.setting"


class SettingsError(Exception):
    """A setting that cannot be used: its name, the value, and what is expected."""


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as a person reads about it. choices: the only values, where there are few; between: least and most.

    secret: its value is never shown, not even in the repr of its class.
    """

    env: str
    help: str
    unit: str
    choices: tuple[str, ...] = ()
    between: tuple[float, float] | None = None
    secret: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.env.removeprefix("TIDEBOARD_").lower().replace("_", "-")


def setting(
    default: Any,
    env: str,
    help: str,  # noqa: A002, the word that a reader expects
    unit: str = "",
    *,
    choices: Sequence[str] = (),
    between: tuple[float, float] | None = None,
    secret: bool = False,
) -> Any:
    """A field of a settings class."""
    described = Described(env, help, unit, tuple(choices), between, secret)
    return dataclasses.field(default=default, repr=not secret, metadata={_META: described})


PORT: Final = (0, 65_535)
"""What a port is `between`; 0 is any free one."""


def describe(cls: type[Any]) -> list[tuple[Described, Any]]:
    """Each setting of a class with its default, in order."""
    return [(item.metadata[_META], item.default) for item in dataclasses.fields(cls) if _META in item.metadata]


def load(cls: type[Settings], environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Settings:
    """The settings as the environment says, and the flags (by the variable's name) before it. SettingsError names what is wrong."""
    types = get_type_hints(cls)
    values: dict[str, Any] = {}
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]  # every settings class is a dataclass
        described: Described = item.metadata[_META]
        if flags and described.env in flags:
            values[item.name] = _value(described, described.flag, flags[described.env], types[item.name])
        elif described.env in environ:
            values[item.name] = _value(described, described.env, environ[described.env], types[item.name])
    return cls(**values)


def parse_flags(arguments: Sequence[str], classes: Iterable[type[Any]]) -> dict[str, str]:
    """The values of `--name value` and `--name=value` by the variable's name. SettingsError where a flag is not one of these classes'."""
    known = {described.flag: described for cls in classes for described, _ in describe(cls)}
    found: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag not in known:
            raise SettingsError(f"{flag} is not a setting of this target; --help lists them")
        if not equals:
            following = next(rest, None)
            if following is None:
                raise SettingsError(f"{flag} needs a value")
            value = following
        found[known[flag].env] = value
    return found


def _value(described: Described, name: str, text: str, kind: Any) -> Any:
    parse, expected = _PARSERS[kind]
    try:
        value = parse(text.strip())
    except (ValueError, KeyError):
        raise SettingsError(f"{name}: {text!r} is not {expected}") from None
    if described.choices and value not in described.choices:
        raise SettingsError(f"{name}: {text!r} is not one of {', '.join(described.choices)}")
    if described.between and not described.between[0] <= value <= described.between[1]:
        least, most = described.between
        raise SettingsError(f"{name}: {text!r} is not between {least:g} and {most:g}")
    return value


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _truth(text: str) -> bool:
    return _TRUTH[text.lower()]


_TRUTH: Final = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_PARSERS: Final[dict[Any, tuple[Callable[[str], Any], str]]] = {
    str: (str, "a text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (_truth, "true or false"),
    Path: (Path, "a path"),
    tuple[str, ...]: (_words, "a list of words with commas between"),
}
