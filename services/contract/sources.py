"""Sources: the document by which samples are read from a Kafka topic that others write. docs/sources.md shows how to write one.

`parse` takes the decoded YAML and gives a Source or one DocumentError that names the path and the reason. What is read by it is
`services.ingestor.sources`' business.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import msgspec

from services.contract.document import DocumentError, parse_duration, read_head, shape
from services.contract.names import DEAD_LETTER_TOPIC, LATE_TOPIC, LINEAGE_TOPIC, SAMPLES_TOPIC
from services.contract.paths import Path, PathError, parse_path
from services.contract.registry import Entry
from services.contract.series import LABEL_PATTERN, MAX_LABELS, METRIC_PATTERN, Kind

TOPIC_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")

Format = Literal["json", "ndjson", "tideboard"]
FORMATS: Final = ("json", "ndjson", "tideboard")
MAPPED: Final = ("json", "ndjson")
"""Formats whose samples are taken out of JSON by paths."""
OUR_TOPICS: Final = (SAMPLES_TOPIC, LINEAGE_TOPIC, LATE_TOPIC, DEAD_LETTER_TOPIC)
TimeUnit = Literal["s", "ms", "us", "ns"]
TIME_UNITS: Final = ("s", "ms", "us", "ns")
KINDS: Final = tuple(kind.name for kind in Kind)
MAX_SAMPLES: Final = 100
EVERY_LABEL: Final = "*"

LATEST: Final = 0
EARLIEST: Final = -1


class Reading(msgspec.Struct, frozen=True):
    """How one sample is taken out of a JSON value; a path that goes through lists gives one for each item.

    metric, kind, value and labels are constants or paths. time: None where the record's own is meant; start: since when a
    counter counts; unit: of times that are numbers.
    spread: an object all of whose members are labels; those that `labels` names go before.
    """

    metric: str | Path
    value: float | Path
    kind: str | Path
    time: Path | None
    start: Path | None
    unit: TimeUnit
    labels: tuple[tuple[str, str | Path], ...]
    spread: Path | None

    @property
    def loops(self) -> tuple[tuple[int | str | None, ...], ...]:
        """What the sample goes through item by item, from the outermost on."""
        return max((path.loops for path in _paths(self).values()), key=len, default=())


class Source(msgspec.Struct, frozen=True):
    """A topic and how it is read. begin: where, at first sight: LATEST, EARLIEST, or so many ms back. labels: of every sample that has none of that name."""

    name: str
    topic: str
    format: Format
    begin: int
    key_affinity: bool
    labels: tuple[tuple[str, str], ...]
    readings: tuple[Reading, ...]


class _Spec(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    format: str
    begin: str = msgspec.field(default="latest", name="from")
    keyAffinity: bool = False  # noqa: N815, the document's own spelling
    labels: dict[str, Any] = {}
    sample: Any = None
    samples: list[Any] | None = None


class _Sample(msgspec.Struct, forbid_unknown_fields=True):
    metric: str
    value: str | int | float
    kind: str = "gauge"
    time: str | None = None
    start: str | None = None
    timeUnit: str = "ms"  # noqa: N815, the document's own spelling
    labels: dict[str, Any] = {}


def parse(document: object) -> Source:
    """The source that a decoded YAML document describes. DocumentError names the first thing that is wrong."""
    name, drafted = read_head(document, "Source")
    if isinstance(drafted, dict) and isinstance(drafted.get("format"), str):
        _check_format(drafted["format"])  # before what other formats would have beside it
    spec = shape(drafted, _Spec, "spec")
    _check_topic(spec.topic)
    return Source(
        name, spec.topic, cast("Format", spec.format), _begin(spec.begin), spec.keyAffinity,
        tuple(sorted(_constants(spec.labels, "spec.labels").items())), _readings(spec),
    )  # fmt: skip


def held(entry: Entry) -> Source | None:
    """The source of an entry of the registry, or None where there is none that this version of the software can read."""
    try:
        return parse(entry.document)
    except DocumentError:
        return None


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise DocumentError("spec.format", f"{name!r} is not supported; expected one of {', '.join(FORMATS)}")


def _check_topic(topic: str) -> None:
    if not TOPIC_PATTERN.match(topic) or topic in (".", ".."):
        raise DocumentError(
            "spec.topic", f"is {topic!r}, expected the name of a Kafka topic: letters, digits, '.', '_' and '-'"
        )
    if topic in OUR_TOPICS:
        raise DocumentError("spec.topic", f"{topic!r} is Tideboard's own topic")


def _begin(text: str) -> int:
    if text == "latest":
        return LATEST
    if text == "earliest":
        return EARLIEST
    try:
        return parse_duration(text, "spec.from")
    except DocumentError:
        raise DocumentError("spec.from", f"is {text!r}, expected latest, earliest, or how far back, as in 30m or 2h") from None


def _readings(spec: _Spec) -> tuple[Reading, ...]:
    if spec.format not in MAPPED:
        for name, written in (("sample", spec.sample), ("samples", spec.samples)):
            if written is not None:
                raise DocumentError(
                    f"spec.{name}", f"is for {' and '.join(MAPPED)}; records of format {spec.format} say it themselves"
                )
        return ()
    if spec.sample is not None and spec.samples is not None:
        raise DocumentError("spec.samples", "is there beside sample; one of them is enough")
    if spec.samples is None:
        return (STANDARD,) if spec.sample is None else (_reading(spec.sample, "spec.sample"),)
    if not 1 <= len(spec.samples) <= MAX_SAMPLES:
        raise DocumentError("spec.samples", f"has {len(spec.samples)} samples, expected 1 to {MAX_SAMPLES}")
    return tuple(_reading(item, f"spec.samples[{i}]") for i, item in enumerate(spec.samples))


def _reading(item: object, path: str) -> Reading:
    draft = shape(item, _Sample, path)
    if draft.timeUnit not in TIME_UNITS:
        raise DocumentError(f"{path}.timeUnit", f"{draft.timeUnit!r} is not one of {', '.join(TIME_UNITS)}")
    spread = draft.labels.get(EVERY_LABEL)
    labels = {name: value for name, value in draft.labels.items() if name != EVERY_LABEL}
    _check_labels(labels, f"{path}.labels")
    reading = Reading(
        metric=_metric(draft.metric, f"{path}.metric"),
        value=_value(draft.value, f"{path}.value"),
        kind=_kind(draft.kind, f"{path}.kind"),
        time=None if draft.time is None else _path(draft.time, f"{path}.time"),
        start=None if draft.start is None else _path(draft.start, f"{path}.start"),
        unit=cast("TimeUnit", draft.timeUnit),
        labels=tuple(sorted((name, _label(value, f"{path}.labels.{name}")) for name, value in labels.items())),
        spread=None if spread is None else _path(spread, f"{path}.labels.{EVERY_LABEL}"),
    )
    _check_loops(reading, path)
    return reading


def _metric(text: str, path: str) -> str | Path:
    if text.startswith("$"):
        return _path(text, path)
    if not METRIC_PATTERN.match(text):
        raise DocumentError(path, f"is {text!r}, which is neither a metric name nor a path like $.name")
    return text


def _value(given: str | float, path: str) -> float | Path:
    if isinstance(given, str):
        return _path(given, path)
    if not math.isfinite(given):
        raise DocumentError(path, f"is {given}, expected a finite number or a path like $.value")
    return float(given)


def _kind(text: str, path: str) -> str | Path:
    if text.startswith("$"):
        return _path(text, path)
    if text not in KINDS:
        raise DocumentError(path, f"{text!r} is not one of {', '.join(KINDS)}, nor a path like $.kind")
    return text


def _label(value: object, path: str) -> str | Path:
    """A string that begins with $ is a path, one that begins with $$ a constant that begins with $."""
    if isinstance(value, str) and value.startswith("$") and not value.startswith("$$"):
        return _path(value, path)
    return _constant(value, path)


def _path(value: object, path: str) -> Path:
    if not isinstance(value, str):
        raise DocumentError(path, f"is {value!r}, expected a path like $.name")
    try:
        return parse_path(value)
    except PathError as error:
        raise DocumentError(path, str(error)) from None


def _constants(labels: Mapping[str, Any], path: str) -> dict[str, str]:
    _check_labels(labels, path)
    return {name: _constant(value, f"{path}.{name}") for name, value in labels.items()}


def _constant(value: object, path: str) -> str:
    """As it was written: YAML reads 200 as a number and true as a truth."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value.removeprefix("$") if value.startswith("$$") else value
    if isinstance(value, int | float):
        return str(value)
    raise DocumentError(path, "expected a text")


def _check_labels(labels: Mapping[str, Any], path: str) -> None:
    if len(labels) > MAX_LABELS:
        raise DocumentError(path, f"has {len(labels)} labels, {MAX_LABELS} at most")
    for name in labels:
        if not LABEL_PATTERN.match(name):
            raise DocumentError(
                f"{path}.{name}", "is not a label name: letters, digits, '_' and '.'; '*' takes all members of an object"
            )


def _paths(reading: Reading) -> dict[str, Path]:
    """The paths of a sample by where they stand in the document."""
    fields = {
        "value": reading.value,
        "metric": reading.metric,
        "kind": reading.kind,
        "time": reading.time,
        "start": reading.start,
    }
    fields |= {f"labels.{name}": value for name, value in reading.labels}
    fields[f"labels.{EVERY_LABEL}"] = reading.spread
    return {name: value for name, value in fields.items() if isinstance(value, Path)}


def _check_loops(reading: Reading, path: str) -> None:
    """A sample goes through one list, or one within the other, and never through two side by side."""
    deepest = reading.loops
    whose = next((name for name, found in _paths(reading).items() if found.loops == deepest), "")
    for name, found in _paths(reading).items():
        if found.loops != deepest[: len(found.loops)]:
            mine, theirs = Path(found.loops[-1]), Path(deepest[-1])
            raise DocumentError(
                f"{path}.{name}",
                f"goes through {mine}, and {whose} through {theirs}; the paths of a sample must share their lists",
            )


STANDARD: Final = Reading(
    metric=Path(("metric",)), value=Path(("value",)), kind=Path(("kind",)), time=Path(("time",)), start=Path(("start",)), unit="ms", labels=(), spread=Path(("labels",))
)  # fmt: skip
"""What is read where a source says nothing: samples as the ingestor's HTTP door takes them, one or a list of them."""
