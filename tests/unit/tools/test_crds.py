"""The definitions of the custom resources: what the contract's reader accepts, they accept, and they are where they are looked for."""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from services.contract import dashboards, layout, queries, sources
from services.contract.document import DocumentError
from services.contract.functions import PLAIN
from tests.unit.contract.test_dashboards import FULL
from tests.unit.contract.test_dashboards import dashboard as dashboard_of
from tests.unit.contract.test_sources import document as source_of
from tools.crds.__main__ import PLACES, files
from tools.crds.dashboards import dashboard
from tools.crds.sources import source

Schema = dict[str, Any]

DASHBOARD: Final = dashboard()
SOURCE: Final = source()


def schema_of(definition: Schema) -> Schema:
    (version,) = definition["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]
    return found


def closed(schema: Schema) -> Schema:
    """As an API server reads it: what is not named is refused, by who applies with validation, or else cut off."""
    found = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if "properties" in found:
        found["properties"] = {name: closed(item) for name, item in schema["properties"].items()}
        found["additionalProperties"] = False
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = closed(schema["additionalProperties"])
    if "items" in found:
        found["items"] = closed(schema["items"])
    return found


def refusals(definition: Schema, document: Any) -> list[str]:
    """What an API server says of a document, but for the rules in CEL: those are tried on one in tests/cluster."""
    schema = closed(schema_of(definition))
    schema["properties"]["metadata"] = {"type": "object", "properties": schema["properties"]["metadata"]["properties"]}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(document)]


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, item in schema.get("properties", {}).items():
        yield from nodes(item, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


# Where they lie


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_the_files_are_what_the_contract_says(place: Path) -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in place.glob("*.yaml") if path.name != "kustomization.yaml"}
    assert found == files(), "the contract has changed: `make crds` writes them anew"


def test_the_files_hold_no_anchors_and_say_what_they_are() -> None:
    for name, text in files().items():
        assert "&id" not in text
        assert yaml.safe_load(text)["metadata"]["name"] == f"{name.removesuffix('.yaml')}.tideboard.dev"


# What they say


@pytest.mark.parametrize("definition", [DASHBOARD, SOURCE], ids=["Dashboard", "Source"])
def test_every_field_is_explained_and_typed(definition: Schema) -> None:
    for path, schema in nodes(schema_of(definition)):
        assert "type" in schema or "x-kubernetes-preserve-unknown-fields" in schema, path
        if path not in (".apiVersion", ".kind", ".metadata"):
            assert len(schema["description"]) > 10, path
            assert schema["description"].endswith("."), path


FIELDS: Final = [
    (DASHBOARD, ".spec", dashboards._Spec),
    (DASHBOARD, ".spec.panels[]", dashboards._Panel),
    (DASHBOARD, ".spec.panels[].query", queries._Query),
    (DASHBOARD, ".spec.panels[].queries[]", queries._Query),
    (DASHBOARD, ".spec.panels[].thresholds[]", dashboards.Threshold),
    (DASHBOARD, ".spec.panels[].grid", layout._Grid),
    (DASHBOARD, ".spec.resolutions[]", dashboards._Resolution),
    (SOURCE, ".spec", sources._Spec),
    (SOURCE, ".spec.sample", sources._Sample),
    (SOURCE, ".spec.samples[]", sources._Sample),
]


@pytest.mark.parametrize(("definition", "path", "struct"), FIELDS, ids=lambda item: item if isinstance(item, str) else "")
def test_the_fields_are_those_that_the_reader_knows(definition: Schema, path: str, struct: type[msgspec.Struct]) -> None:
    schema = dict(nodes(schema_of(definition)))[path]
    known = msgspec.structs.fields(struct)
    names, required = set(schema["properties"]), set(schema["required"])
    if struct is layout._Grid:  # what YAML makes of y is as good as y
        names, required = names - {"true"}, required | {"y"}
    assert names == {field.encode_name for field in known}
    assert required == {field.encode_name for field in known if field.required}


def test_the_words_are_those_that_the_reader_knows() -> None:
    panel = schema_of(DASHBOARD)["properties"]["spec"]["properties"]["panels"]["items"]["properties"]
    spec = schema_of(SOURCE)["properties"]["spec"]["properties"]
    assert panel["type"]["enum"] == list(layout.DEFAULT_SIZES)
    assert panel["query"]["properties"]["each"]["enum"] == list(queries.EACH)
    assert spec["format"]["enum"] == list(sources.FORMATS)
    for name in (*PLAIN, "p50", "p99.9", "topk(5)"):
        assert re.search(panel["fn"]["pattern"], name), name
    for name in ("avrage", "p", "topk", "topk()", "p99,9", "avg "):
        assert not re.search(panel["fn"]["pattern"], name), name


# What they accept


FENCED: Final = re.findall(r"```yaml\n(.*?)```", Path("docs/dashboards.md").read_text(), re.DOTALL)
INDENTED: Final = re.findall(r"(?:^    .*\n)+", Path("docs/sources.md").read_text(), re.MULTILINE)

DASHBOARDS: Final = [
    *(yaml.safe_load(path.read_text()) for path in sorted(Path("dashboards").glob("*.yaml"))),
    *(item for item in map(yaml.safe_load, FENCED) if isinstance(item, dict) and "kind" in item),
    FULL,
    dashboard_of(),
]
SOURCES: Final = [
    item if "kind" in item else source_of(**item)
    for item in (yaml.safe_load(re.sub(r"^    ", "", text, flags=re.MULTILINE)) for text in INDENTED)
    if isinstance(item, dict) and ("kind" in item or "format" in item)
]


def test_there_are_examples() -> None:
    assert len(DASHBOARDS) >= 5
    assert len(SOURCES) >= 5


@pytest.mark.parametrize("document", DASHBOARDS, ids=lambda item: str(item["metadata"]["name"]))
def test_every_dashboard_is_accepted(document: Schema) -> None:
    assert dashboards.parse(document)
    assert refusals(DASHBOARD, document) == []


@pytest.mark.parametrize("document", SOURCES, ids=lambda item: str(item["spec"].get("format")))
def test_every_source_is_accepted(document: Schema) -> None:
    assert sources.parse(document)
    assert refusals(SOURCE, document) == []


durations = st.sampled_from(["50ms", "0.05s", "1s", "1.5s", "10s", "1m", "0.5m", "1h", "0.01d", "2h", "1d", "999999999999d"])
names = st.sampled_from(["a", "b", "_x9", "Z", "x" * 63])
labels = st.sampled_from(["host", "a.b", "_", "code"])
functions = st.sampled_from([*PLAIN, "p1", "p99.999", "topk(1)", "topk(100)"])
constants = st.sampled_from(["", "eu", "=~ a.*", "!= b", 1, 2.5, -3, True])
conditions = (
    constants
    | st.lists(constants, min_size=1, max_size=3)
    | st.dictionaries(st.sampled_from(["=", "!="]), constants, min_size=1)
)


def some(**optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An object that may have each of these fields; those with a _ before them it has."""
    required = {name[1:]: value for name, value in optional.items() if name.startswith("_")}
    return st.fixed_dictionaries(required, optional={key: value for key, value in optional.items() if not key.startswith("_")})


query = some(
    _metric=st.sampled_from(["load", "a:b.c", "x" * 300]),
    id=names,
    where=st.dictionaries(labels, conditions, max_size=2),
    by=st.lists(labels, max_size=2),
    fn=functions | st.lists(functions, min_size=1, max_size=2, unique=True),
    of=labels,
    each=st.sampled_from(queries.EACH),
    every=durations,
    over=durations,
)
grid = some(_x=st.integers(-1, 24), _y=st.integers(0, 10_001), _w=st.integers(0, 25), _h=st.integers(0, 101))
panels = some(
    _id=names,
    _type=st.sampled_from(sorted(layout.DEFAULT_SIZES)),
    title=st.text(max_size=5),
    description=st.text(max_size=5),
    query=query,
    queries=st.lists(query, max_size=3),
    fn=functions,
    expr=st.sampled_from(["a", "a / b", "(a + 1) * 2", "a" + " " * 499]),
    unit=st.text(max_size=5),
    window=durations,
    thresholds=st.lists(
        some(_above=st.integers() | st.floats(allow_nan=False), _state=st.sampled_from(["warning", "critical"]))
    ),
    min=st.floats(),
    max=st.integers(),
    decimals=st.integers(-1, 13),
    legend=st.text(max_size=5),
    maxGroups=st.integers(0, 100_001),
    grid=grid,
)
boards = some(
    _panels=st.lists(panels, max_size=3),
    title=st.text(max_size=5),
    window=durations,
    every=durations,
    maxGroups=st.integers(0, 100_001),
    resolutions=st.lists(some(_every=durations, _for=durations), max_size=3),
)
NAMES: Final = st.sampled_from(["a", "a-b", "9", "x" * 63])
paths = st.sampled_from(["$", "$.a", "$.a[*].b", "$['x y']", "$.a[*]~", "$$", "name", "a.b:c"])
samples = some(
    _metric=paths,
    _value=paths | st.integers() | st.floats(),
    kind=st.sampled_from([*sources.KINDS, "$.kind", "rate"]),
    time=paths,
    start=paths,
    timeUnit=st.sampled_from(["s", "ms", "us", "ns", "m"]),
    labels=st.dictionaries(labels | st.just("*"), paths | constants, max_size=3),
)
read = some(
    _topic=st.sampled_from(["orders", "a.b_c-d", "x" * 249, "x" * 250, ".", "a b", "tideboard.samples"]),
    _format=st.sampled_from(sources.FORMATS),
    labels=st.dictionaries(labels, constants, max_size=3),
    keyAffinity=st.booleans(),
    sample=samples,
    samples=st.lists(samples, max_size=3),
    **{"from": st.sampled_from(["latest", "earliest", "first"]) | durations},
)


def pared(document: Schema, parse: Callable[[object], object]) -> Schema:
    """The document without what the reader refuses, one thing after the other."""
    found = copy.deepcopy(document)
    while True:
        try:
            parse(found)
        except DocumentError as error:
            assume(_cut(found, error.path))
        else:
            return found


def _cut(item: Any, path: str) -> bool:
    """Cut off what is there, or as much of the way to it as is there. False: that would be all."""
    for key in list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ():
        written = f"[{key}]" if isinstance(key, int) else str(key)
        if path.startswith(written):
            if not _cut(item[key], path.removeprefix(written).removeprefix(".")):
                del item[key]
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(NAMES, boards)
def test_whatever_dashboard_the_reader_accepts_is_accepted(name: str, spec: Schema) -> None:
    document = pared({**dashboard_of(), "metadata": {"name": name}, "spec": spec}, dashboards.parse)
    assert refusals(DASHBOARD, document) == []


@settings(max_examples=300, deadline=None)
@given(NAMES, read)
def test_whatever_source_the_reader_accepts_is_accepted(name: str, spec: Schema) -> None:
    document = pared({**source_of(), "metadata": {"name": name}, "spec": spec}, sources.parse)
    assert refusals(SOURCE, document) == []


# What they refuse


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("title",), 5),
        (("window",), "5 minutes"),
        (("panels", 0, "type"), "pie"),
        (("panels", 0, "id"), "a-b"),
        (("panels", 0, "decimals"), 13),
        (("panels", 0, "colour"), "red"),
        (("panels", 0, "fn"), "avrage"),
        (("panels", 0, "queries", 0, "fn"), "avrage"),
        (("panels", 0, "queries", 0, "metric"), "9x"),
        (("panels", 0, "queries", 0, "by"), "host"),
        (("panels", 0, "queries", 0, "each"), "median"),
        (("panels", 0, "thresholds", 0, "state"), "bad"),
        (("panels", 0, "grid", "h"), 101),
    ],
)
def test_what_a_schema_can_tell_is_refused_before_it_comes_to_the_operator(path: tuple[Any, ...], value: Any) -> None:
    document = copy.deepcopy(FULL)
    at = document["spec"]
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert len(refusals(DASHBOARD, document)) == 1
