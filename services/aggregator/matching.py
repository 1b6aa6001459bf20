"""Which series a selection takes, and into which group each falls. Pure."""

from collections.abc import Callable, Mapping

from services.contract import limits
from services.contract.conditions import Matcher, meets
from services.contract.series import Kind, parse_series_key, series_key
from services.contract.views import BY_SERIES, Selection

Match = Callable[[Mapping[str, str]], bool]


def matcher(where: tuple[Matcher, ...]) -> Match:
    """Whether labels meet every condition. A label that is absent has the empty value."""
    if not where:
        return _everything
    tests = [(condition.label, meets(condition)) for condition in where]
    return lambda labels: all(test(labels.get(label, "")) for label, test in tests)


def _everything(_labels: Mapping[str, str]) -> bool:
    return True


def group_key(selection: Selection, kind: int, key: bytes, labels: Mapping[str, str]) -> bytes:
    """The canonical bytes of the group of a series: its labels named by `by`; of an accumulator of single series, its kind and key."""
    if selection.accumulator in BY_SERIES:
        return bytes([kind]) + key
    return labels_key(labels, selection.by)


def item_name(selection: Selection, kind: int, key: bytes, labels: Mapping[str, str]) -> str | None:
    """What a series is to an accumulator of items: its value of the label `of`, or itself; None where it has no such label."""
    if selection.of:
        return labels.get(selection.of)
    return f"{kind} {key.hex()}"  # the library takes UTF-8, which a key is not


def labels_key(labels: Mapping[str, str], by: tuple[str, ...]) -> bytes:
    return series_key("", {name: labels[name] for name in by if name in labels})


def overflow_of(selection: Selection, key: bytes) -> bytes:
    """The group in which this one is pooled when there are too many; of single series one for each kind."""
    return key[:1] + limits.OVERFLOW_KEY if selection.accumulator in BY_SERIES else limits.OVERFLOW_KEY


def group_labels(key: bytes) -> dict[str, str]:
    """The labels of a group key that `labels_key` made."""
    return parse_series_key(key)[1]


def series_of_group(key: bytes) -> tuple[Kind, dict[str, str]]:
    """Kind and labels of a group of an accumulator of single series."""
    return Kind(key[0]), parse_series_key(key[1:])[1]
