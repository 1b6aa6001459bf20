"""Paths: places in a JSON value, as in $.order.items[*].price. Pure; what is found there is `services.ingestor.sources`' business.

$                the whole value
$.name           a member of an object; any name goes in brackets: $['first name']
$.list[0]        an item of a list; -1 is the last one
$.list[*]        every item of a list, or every member of an object: one sample for each
$.object[*]~     the name of that member, or the number of that item
"""

import re
from typing import Final

import msgspec

MAX_STEPS: Final = 32
_STEP: Final = re.compile(
    r"""\.(?P<name>[^.\[\]~'"\s$*]+)
      | \['(?P<single>[^']*)'\]
      | \["(?P<double>[^"]*)"\]
      | \[(?P<index>-?[0-9]{1,6})\]
      | (?P<each>\[\*\])
    """,
    re.VERBOSE,
)

Step = str | int | None
"""A member by its name, an item by its number, or None: each of them."""


class PathError(ValueError):
    """Text that is not a path; the message says where it goes wrong."""


class Path(msgspec.Struct, frozen=True):
    """A place in a JSON value. key: not what lies there is meant, but the name by which it does."""

    steps: tuple[Step, ...]
    key: bool = False

    @property
    def loops(self) -> tuple[tuple[Step, ...], ...]:
        """What it goes through item by item: the steps up to each [*]."""
        return tuple(self.steps[: at + 1] for at, step in enumerate(self.steps) if step is None)

    def __str__(self) -> str:
        return "$" + "".join(map(_shown, self.steps)) + ("~" if self.key else "")


def parse_path(text: str) -> Path:
    """The path that a text means. PathError says what is wrong with it."""
    if not text.startswith("$"):
        raise PathError(f"{text!r} does not begin with $, as a path does: $.name, $.list[0], $.list[*]")
    steps: list[Step] = []
    at = 1
    while at < len(text) and text[at:] != "~":
        found = _STEP.match(text, at)
        if found is None:
            raise PathError(_fault(text, at))
        steps.append(_step(found))
        at = found.end()
    if len(steps) > MAX_STEPS:
        raise PathError(f"{text!r} has {len(steps)} steps, {MAX_STEPS} at most")
    if at < len(text) and (not steps or steps[-1] is not None):
        raise PathError(f"{text!r}: ~ follows [*] only, and means the name of each member")
    return Path(tuple(steps), at < len(text))


def _step(found: re.Match[str]) -> Step:
    if found["each"]:
        return None
    if found["index"]:
        return int(found["index"])
    return next(name for name in (found["name"], found["single"], found["double"]) if name is not None)


def _fault(text: str, at: int) -> str:
    where = f"{text!r} cannot be read at character {at + 1}"
    if text[at] == "[":
        return f"{where}: expected [0], [-1], [*] or ['name']"
    if text[at] == ".":
        return f"{where}: a name should follow the dot; odd ones are written ['name']"
    return f"{where}: expected .name, [0], [*] or ['name']"


def _shown(step: Step) -> str:
    if step is None:
        return "[*]"
    if isinstance(step, int):
        return f"[{step}]"
    if (found := _STEP.fullmatch(f".{step}")) and found["name"] is not None:
        return f".{step}"
    return f'["{step}"]' if "'" in step else f"['{step}']"
