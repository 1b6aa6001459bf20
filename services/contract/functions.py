"""Functions: what a query may ask of its samples, by name. docs/dashboards.md says what each means."""

import re
from dataclasses import dataclass
from typing import Final

PLAIN: Final = (
    "avg", "sum", "min", "max", "count", "last", "first", "rate", "increase", "delta", "stddev", "distinct",
)  # fmt: skip
NAMES: Final = (*PLAIN, "pNN such as p99", "topk(n)")
ADDITIVE: Final = frozenset({"sum", "count", "rate", "increase", "delta", "distinct", "topk"})
"""Functions whose open bucket is still growing, so that it must not be drawn as if it were complete."""

MAX_TOP: Final = 100
WHOLE: Final = 100_000
"""What a quantile's number counts: thousandths of a percent."""

_QUANTILE: Final = re.compile(r"p([0-9]{1,2})(?:\.([0-9]{1,3}))?\Z", re.ASCII)
_TOP: Final = re.compile(r"topk\(([0-9]{1,3})\)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Function:
    """name: the one way to write it. kind: 'quantile', 'topk', or the name itself.

    number: of a quantile thousandths of a percent (p99.9: 99,900), of topk how many; else 0.
    """

    name: str
    kind: str
    number: int = 0


def parse_function(text: str) -> Function | None:
    """The function of this name; None when there is none."""
    if text in PLAIN:
        return Function(text, text)
    if found := _QUANTILE.match(text):
        number = int(found[1]) * 1_000 + int((found[2] or "").ljust(3, "0"))
        return Function(f"p{number / 1_000:g}", "quantile", number) if number else None
    if (found := _TOP.match(text)) and 1 <= int(found[1]) <= MAX_TOP:
        return Function(f"topk({int(found[1])})", "topk", int(found[1]))
    return None
