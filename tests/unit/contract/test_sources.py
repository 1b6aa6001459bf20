"""Sources: the document that an author writes."""

import re
from pathlib import Path as File
from typing import Any

import pytest
import yaml

from services.contract.document import DocumentError
from services.contract.paths import Path, parse_path
from services.contract.registry import VERSION, Entry
from services.contract.sources import EARLIEST, LATEST, STANDARD, held, parse

ORDER = {
    "metric": "order_value",
    "kind": "distribution",
    "value": "$.total",
    "time": "$.at",
    "start": "$.since",
    "timeUnit": "s",
    "labels": {"region": "$.customer.region", "shop": "main", "code": 7, "*": "$.tags", "price": "$$5"},
}


def document(**spec: Any) -> dict[str, Any]:
    base = {"topic": "shop.orders", "format": "json"}
    return {"apiVersion": "tideboard.dev/v1alpha1", "kind": "Source", "metadata": {"name": "orders"}, "spec": base | spec}


def sample(**fields: Any) -> dict[str, Any]:
    return document(sample={"metric": "m", "value": "$.v"} | fields)


def test_a_document_says_what_is_read_and_how() -> None:
    source = parse(document(sample=ORDER, labels={"env": "prod", "green": True}, keyAffinity=True, **{"from": "2h"}))
    assert (source.name, source.topic, source.format, source.begin) == ("orders", "shop.orders", "json", 7_200_000)
    assert (source.key_affinity, source.labels) == (True, (("env", "prod"), ("green", "true")))
    (reading,) = source.readings
    assert (reading.metric, reading.kind, reading.value) == ("order_value", "distribution", Path(("total",)))
    assert (reading.time, reading.unit, reading.spread) == (Path(("at",)), "s", Path(("tags",)))
    assert reading.start == Path(("since",))
    assert reading.labels == (("code", "7"), ("price", "$5"), ("region", parse_path("$.customer.region")), ("shop", "main"))


def test_little_needs_to_be_said() -> None:
    source = parse(document())
    assert (source.begin, source.key_affinity, source.labels, source.readings) == (LATEST, False, (), (STANDARD,))
    assert parse(document(**{"from": "earliest"})).begin == EARLIEST
    assert parse(document(format="tideboard")).readings == ()


def test_several_samples_may_be_taken_out_of_one_value() -> None:
    readings = parse(document(samples=[ORDER, {"metric": "orders", "kind": "delta", "value": 1}])).readings
    assert [reading.value for reading in readings] == [Path(("total",)), 1.0]


def test_paths_of_a_sample_may_go_through_one_list_within_the_other() -> None:
    source = parse(sample(value="$.hosts[*].disks[*].used", labels={"host": "$.hosts[*].name", "disk": "$.hosts[*].disks[*]~"}))
    assert len(source.readings[0].loops) == 2


@pytest.mark.parametrize(
    ("broken", "path", "reason"),
    [
        ({"kind": "Source"}, "document", "missing required field"),
        (document() | {"apiVersion": "v1"}, "apiVersion", "expected 'tideboard.dev/v1alpha1'"),
        (document() | {"metadata": {"name": "A"}}, "metadata.name", "lower-case"),
        (document() | {"spec": {"topic": "t"}}, "spec", "missing required field `format`"),
        (document(format="avro"), "spec.format", "'avro' is not supported; expected one of json, ndjson, tideboard"),
        (document(format="influx", precision="ns"), "spec.format", "'influx' is not supported"),
        (document(offset=3), "spec", "unknown field `offset`"),
        (document(topic="a b"), "spec.topic", "name of a Kafka topic"),
        (document(topic="tideboard.samples"), "spec.topic", "own topic"),
        (document(**{"from": "yesterday"}), "spec.from", "latest, earliest, or how far back"),
        (document(**{"from": "0s"}), "spec.from", "latest, earliest, or how far back"),
        (document(format="tideboard", sample=ORDER), "spec.sample", "is for json and ndjson"),
        (document(sample=ORDER, samples=[ORDER]), "spec.samples", "one of them is enough"),
        (document(samples=[]), "spec.samples", "expected 1 to 100"),
        (document(samples=[ORDER, {"value": 1}]), "spec.samples[1]", "missing required field `metric`"),
        (document(labels={"a b": "x"}), "spec.labels.a b", "not a label name"),
        (document(labels={"a": "$.b"}) | {}, "", ""),
        (document(labels={"a": None}), "spec.labels.a", "expected a text"),
        (sample(metric="1m"), "spec.sample.metric", "neither a metric name nor a path"),
        (sample(metric="$.a["), "spec.sample.metric", "cannot be read at character 4"),
        (sample(value="v"), "spec.sample.value", "does not begin with $"),
        (sample(value=float("nan")), "spec.sample.value", "expected a finite number"),
        (sample(value=None), "spec.sample.value", "expected"),
        (sample(kind="guage"), "spec.sample.kind", "'guage' is not one of gauge, counter, delta, distribution"),
        (sample(time="now"), "spec.sample.time", "does not begin with $"),
        (sample(timeUnit="min"), "spec.sample.timeUnit", "'min' is not one of s, ms, us, ns"),
        (sample(labels={"a": ["x"]}), "spec.sample.labels.a", "expected a text"),
        (sample(labels={"*": "tags"}), "spec.sample.labels.*", "does not begin with $"),
        (sample(labels={"*": {"a": 1}}), "spec.sample.labels.*", "expected a path"),
        (
            sample(value="$.a[*].v", labels={"host": "$.b[*].name"}),
            "spec.sample.labels.host",
            "goes through $.b[*], and value through $.a[*]; the paths of a sample must share their lists",
        ),
        (
            sample(value="$.a[*].b[*]", time="$.a[*].c[*]"),
            "spec.sample.time",
            "goes through $.a[*].c[*], and value through $.a[*].b[*]",
        ),
    ],
)
def test_what_is_wrong_is_named_by_path_and_reason(broken: dict[str, Any], path: str, reason: str) -> None:
    if not path:
        assert parse(broken).labels == (("a", "$.b"),)
        return
    with pytest.raises(DocumentError) as fault:
        parse(broken)
    assert fault.value.path == path
    assert reason in fault.value.reason


def test_an_entry_that_this_version_cannot_read_holds_no_source() -> None:
    assert held(Entry(VERSION, "orders", "1", document(), "sources/orders.yaml")) == parse(document())
    assert held(Entry(VERSION, "orders", "1", document(format="avro"), "sources/orders.yaml")) is None
    assert held(Entry(VERSION, "orders", "", None, "sources/orders.yaml")) is None


def test_every_example_of_the_page_about_sources_is_one() -> None:
    page = (File(__file__).parents[3] / "docs" / "sources.md").read_text()
    blocks = re.findall(r"(?:^    .*\n)+", page, re.MULTILINE)
    assert len(blocks) == 5
    for block in blocks:
        written = yaml.safe_load(re.sub(r"^    ", "", block, flags=re.MULTILINE))
        source = parse(written if "apiVersion" in written else document() | {"spec": {"topic": "t"} | written})
        assert source.readings
