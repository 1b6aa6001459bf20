"""Documents that people write: shapes, durations, and the error that names the path and the reason. What they mean is others' to say."""

import math
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

API_VERSION: Final = "tideboard.dev/v1alpha1"
NAME_PATTERN: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
DURATION_PATTERN: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)\Z")
UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class DocumentError(ValueError):
    """A document that is refused. `path` as in spec.panels[2].query.fn, `reason` a sentence."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    apiVersion: str  # noqa: N815, the document's own spelling
    kind: str
    metadata: dict[str, Any]
    spec: Any


def read_head(document: object, kind: str) -> tuple[str, Any]:
    """The name and the spec, not looked into yet, of a decoded document of this kind."""
    head = shape(document, _Document, "")
    if head.apiVersion != API_VERSION:
        raise DocumentError("apiVersion", f"is {head.apiVersion!r}, expected {API_VERSION!r}")
    if head.kind != kind:
        raise DocumentError("kind", f"is {head.kind!r}, expected {kind!r}")
    name = head.metadata.get("name")
    if not isinstance(name, str) or not NAME_PATTERN.match(name):
        raise DocumentError("metadata.name", f"is {name!r}, expected lower-case letters, digits and '-', 63 at most")
    return name, head.spec


def parse_duration(text: str, path: str) -> int:
    """Milliseconds of '250ms', '1s', '5m', '2h', '1d'."""
    if not (found := DURATION_PATTERN.match(text)):
        raise DocumentError(path, f"is {text!r}, expected a duration like 250ms, 1s, 5m, 2h or 1d")
    ms = float(found[1]) * UNITS_MS[found[2]]
    if ms != int(ms) or ms <= 0:
        raise DocumentError(path, f"is {text!r}, expected a whole number of milliseconds, more than none")
    return int(ms)


def format_duration(ms: int) -> str:
    """The shortest way to write a duration: 90000 -> 90s, 3600000 -> 1h."""
    for unit in ("d", "h", "m", "s"):
        if ms % UNITS_MS[unit] == 0:
            return f"{ms // UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


def check_finite(number: float | None, path: str) -> None:
    """JSON, in which documents travel, has neither infinities nor NaN."""
    if number is not None and not math.isfinite(number):
        raise DocumentError(path, f"is {number}, which is not a number")


def check_unique(names: Sequence[str], path: str, what: str) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise DocumentError(f"{path}[{i}]", f"{what} {name!r} is there twice")


Shape = TypeVar("Shape")
_IN_MESSAGE: Final = re.compile(r"(?P<reason>.*?)(?: - at `\$(?P<path>.*)`)?\Z", re.DOTALL)


def shape(item: object, wanted: type[Shape], path: str) -> Shape:
    """The item as the shape, or where it differs. msgspec's own words are kept, its path is appended to ours."""
    try:
        return msgspec.convert(item, wanted)
    except msgspec.ValidationError as error:
        found = _IN_MESSAGE.match(str(error))
        reason, inner = (found["reason"], found["path"] or "") if found else (str(error), "")
        raise DocumentError((path + inner).lstrip(".") or "document", reason[:1].lower() + reason[1:]) from None
