"""The definition of the resource Source. What each field means is told at length in docs/sources.md."""

from typing import Any, Final

from services.contract.series import MAX_LABELS, METRIC_PATTERN
from services.contract.sources import FORMATS, KINDS, MAPPED, MAX_SAMPLES, OUR_TOPICS, TIME_UNITS, TOPIC_PATTERN
from tools.crds.schemas import Schema, anything, by_name, definition, fields, items, rule, text, truth, whole
from tools.crds.states import READY, status

_PATH: Final = "^[$]"
_SOURCE_COLUMNS: Final = [
    {"name": "Topic", "type": "string", "description": "The Kafka topic that is read.", "jsonPath": ".spec.topic"},
    {"name": "Format", "type": "string", "description": "What its records are.", "jsonPath": ".spec.format"},
]


def source() -> Schema:
    about = "A Kafka topic that others write, and how samples are taken out of its records."
    return definition("Source", "sources", [*_SOURCE_COLUMNS, *READY], _spec(), status(), about)


def _spec() -> Schema:
    mapped = " or ".join(MAPPED)
    return fields(
        "What is read.",
        ("topic", "format"),
        rule("!has(self.sample) || !has(self.samples)", "needs sample or samples, not both"),
        rule(
            f"self.format in {list(MAPPED)} || !has(self.sample) && !has(self.samples)",
            f"sample and samples are for {mapped}; records of other formats say it themselves",
        ),
        topic=text(
            "The topic, in the cluster of KAFKA_BOOTSTRAP_SERVERS. Tideboard's own topics are none.",
            maxLength=249,
            pattern=whole(TOPIC_PATTERN),
            **_rules(rule(f"!(self in {['.', '..', *OUR_TOPICS]})", "is no topic that can be read: Tideboard's own, or . or ..")),
        ),
        format=text("What a record is: one JSON value, lines of JSON, or a Batch as another Tideboard writes it.", enum=list(FORMATS)),
        from_=text(
            "Where to begin at first sight: latest, earliest, or how far back, as in 30m or 2h. Default: latest.",
            pattern=r"^(latest|earliest|[0-9]{1,12}(\.[0-9]{1,12})?(ms|s|m|h|d))$",
        ),
        keyAffinity=truth("States that all samples of a series come through one partition, so that counters keep their order. Default: false."),
        labels=by_name(
            "Labels of every sample that has none of that name.",
            anything("A text, a number or a truth."),
            maxProperties=MAX_LABELS,
        ),
        sample=_sample("What is taken out of every JSON value. Default: the fields of the ingestor's HTTP door."),
        samples=items(
            "What is taken out of every JSON value, where that is several samples.", _sample("One of the samples."), minItems=1, maxItems=MAX_SAMPLES
        ),
    )  # fmt: skip


def _sample(description: str) -> Schema:
    path = "What begins with $ is a path, such as $.total, $.hosts[*].name or $.fields[*]~"
    return fields(
        f"{description} {path}.",
        ("metric", "value"),
        metric=text("A metric's name, or a path to one.", pattern=f"{_PATH}|{whole(METRIC_PATTERN)}"),
        value=anything("A path to a number, a number in quotes or a truth; or a number: 1 with kind delta counts records.", pattern=_PATH),
        kind=text(f"What the value means: {', '.join(KINDS)}, or a path to one of these words. Default: gauge.", pattern=f"{_PATH}|^({'|'.join(KINDS)})$"),
        time=text("A path to the time: a number or an RFC 3339 text. Default: the time of the record.", pattern=_PATH),
        start=text("Of a counter: a path to the time since when it counts from zero.", pattern=_PATH),
        timeUnit=text("Of times that are numbers. Default: ms.", enum=list(TIME_UNITS)),
        labels=by_name(
            'Labels, each a constant or a path; "*" is a path to an object all of whose members are labels.',
            anything("A text, a number, a truth, or a path to one."),
            maxProperties=MAX_LABELS + 1,
        ),
    )  # fmt: skip


def _rules(*rules: Schema) -> dict[str, Any]:
    return {"x-kubernetes-validations": list(rules)}
