"""Rules in CEL about lengths of time: what `services.contract.queries` refuses, as far as an API server can tell.

CEL's own durations know no days, so lengths are counted in milliseconds, in the same way as the contract's reader does.
"""

from typing import Final

from services.contract.document import UNITS_MS, format_duration
from services.contract.queries import MAX_BUCKETS, MAX_EVERY_MS, MAX_PANES, MIN_EVERY_MS
from tools.crds.schemas import Schema, rule

_WINDOW: Final = "(has(p.window) ? p.window : has(self.window) ? self.window : '{window}')"
_EVERY: Final = "(has(q.every) ? q.every : has(self.every) ? self.every : '{every}')"


def milliseconds(text: str) -> str:
    """An expression for the milliseconds of a duration; `text`: an expression for how it is written."""
    factors = ", ".join(f"'{unit}': {ms}.0" for unit, ms in UNITS_MS.items())
    return f"double({text}.find('[0-9.]+')) * {{{factors}}}[{text}.find('[a-z]+')]"


def length(least: int, most: int) -> Schema:
    """Of a field: a duration within bounds."""
    ms = milliseconds("self")
    return rule(
        f"[{ms}].all(ms, ms >= {least}.0 && ms <= {most}.0)", f"expected {format_duration(least)} to {format_duration(most)}"
    )


def every() -> Schema:
    return length(MIN_EVERY_MS, MAX_EVERY_MS)


def buckets(window: str, every: str) -> Schema:
    """Of a dashboard: no view has more buckets than there may be. window, every: where nothing is written."""
    window, every = _WINDOW.format(window=window), _EVERY.format(every=every)
    fits = f"[{window}].all(w, [{every}].all(e, {milliseconds('w')} <= {MAX_BUCKETS}.0 * {milliseconds('e')}))"
    return _of_queries(fits, f"window / every is more than {MAX_BUCKETS:,} buckets; choose a longer every or a shorter window")


def panes(every: str) -> Schema:
    """Of a dashboard: `over` is a multiple of `every`, and not too many of it."""
    every = _EVERY.format(every=every)
    whole = f"int({milliseconds('o')}) % int({milliseconds('e')}) == 0"
    times = f"[q.over].all(o, [{every}].all(e, {whole} && {milliseconds('o')} <= {MAX_PANES}.0 * {milliseconds('e')}))"
    return _of_queries(f"!has(q.over) || {times}", f"over is not a multiple of every, or more than {MAX_PANES} times as long")


def _of_queries(holds: str, otherwise: str) -> Schema:
    """What holds of every query q of every panel p. The message names the first panel where it does not.

    Other ways to put the message together are refused: their cost is estimated without the bound on an id's length.
    """
    of_one = f"(!has(p.query) || [p.query].all(q, {holds})) && (!has(p.queries) || p.queries.all(q, {holds}))"
    return rule(
        f"self.panels.all(p, {of_one})",
        f"a panel: {otherwise}",
        f"'panel %s: {otherwise}'.format([self.panels.filter(p, !({of_one}))[0].id])",
    )
