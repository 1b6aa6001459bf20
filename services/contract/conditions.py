"""Conditions on labels: the `where` of a query, and what meets it.

Regular expressions are RE2's, as Prometheus' are: they take time in proportion to the value, whatever is written.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec
import re2

from services.contract.document import DocumentError
from services.contract.series import LABEL_PATTERN

Op = Literal["=", "in", "=~", "!=", "not in", "!~"]
MAX_PATTERN: Final = 1_000
_OPS: Final = ("=~", "!~", "!=", "=")
_EXPECTED: Final = (
    "expected a value, a list of values, '=~ regular expression', '!= value', '!~ regular expression', or several by operator"
)

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20  # what a pattern may take once it is compiled


class Matcher(msgspec.Struct, frozen=True, order=True):
    """One condition on a label. op '=' and '!=': one value; 'in' and 'not in': any of values; '=~' and '!~': values[0] is a
    regular expression for the whole value."""

    label: str
    op: Op
    values: tuple[str, ...]


def parse_where(where: Mapping[str, object], path: str) -> tuple[Matcher, ...]:
    """All conditions of a query, in one order. DocumentError names the first that is wrong."""
    return tuple(
        sorted({item for label, condition in where.items() for item in _conditions(label, condition, f"{path}.{label}")})
    )


def meets(condition: Matcher) -> Callable[[str], bool]:
    """Whether a label's value meets a condition; one that is absent has the empty value."""
    match condition.op:
        case "=~" | "!~":
            pattern, wanted = _compiled(condition.values[0]), condition.op == "=~"
            return lambda value: (pattern.fullmatch(value) is not None) is wanted
        case "=" | "in":
            values = frozenset(condition.values)
            return lambda value: value in values
        case _:
            values = frozenset(condition.values)
            return lambda value: value not in values


def _conditions(label: str, condition: object, path: str) -> list[Matcher]:
    if not LABEL_PATTERN.match(label):
        raise DocumentError(path, "is not a label name")
    match condition:
        case str():
            op = next((op for op in _OPS[:3] if condition.startswith(op)), "=")
            return [_matcher(label, op, condition.removeprefix(op).strip() if op != "=" else condition, path)]
        case dict() if condition:
            if unknown := [op for op in condition if op not in _OPS]:
                raise DocumentError(path, f"{unknown[0]!r} is not an operator; expected one of {', '.join(_OPS)}")
            return [_matcher(label, op, operand, f"{path}.{op}") for op, operand in condition.items()]
    return [_matcher(label, "=", condition, path)]


def _matcher(label: str, op: str, operand: object, path: str) -> Matcher:
    match operand:
        case str() if op in ("=~", "!~"):
            _check_pattern(operand, path)
            return Matcher(label, "=~" if op == "=~" else "!~", (operand,))
        case _ if op in ("=~", "!~"):
            raise DocumentError(path, "expected a regular expression")
        case str() | int() | float():
            return Matcher(label, "=" if op == "=" else "!=", (_label_value(operand),))
        case list() if operand and all(isinstance(value, str | int | float) for value in operand):
            return Matcher(label, "in" if op == "=" else "not in", tuple(sorted({_label_value(value) for value in operand})))
    raise DocumentError(path, _EXPECTED)


def _check_pattern(pattern: str, path: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise DocumentError(path, f"has {len(pattern)} characters, {MAX_PATTERN} at most")
    try:
        _compiled(pattern)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        raise DocumentError(path, f"{pattern!r} is not a regular expression (RE2): {reason}") from None


def _compiled(pattern: str) -> Any:
    return re2.compile(pattern, _OPTIONS)


def _label_value(value: str | float) -> str:
    """As it was written: YAML reads 200 as a number and true as a truth."""
    return str(value).lower() if isinstance(value, bool) else str(value)
