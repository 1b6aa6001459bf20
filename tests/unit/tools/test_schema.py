"""A values.yaml and its comments as a JSON schema: what is taken and what is refused, as a validator sees it."""

from typing import Any

import jsonschema
import pytest

from tools.schema import Schema, SchemaError, schema

VALUES = """\
# How many.
# @schema minimum=0 maximum=9
count: 1
# May be left out.
# @schema nullable type=integer,string
most:
# One of these.
# @schema enum=,a,b
choice: a
# @schema pattern=^x+$
# Comes after its mark.
text: "x"
# Where.
# @schema port
port: 80
# By name.
# @schema map=scalar
env: {}
# Whatever Kubernetes has.
# @schema open
resources:
  requests:
    cpu: 100m
  # @schema nullable type=integer
  user: 1
# A list.
# @schema items=nameOrReference
secrets: []
block:
  # Whether.
  enabled: true
  # Share.
  share: 0.5
"""


def takes(found: Schema, values: dict[str, Any]) -> bool:
    return jsonschema.Draft7Validator(found).is_valid(values)


@pytest.fixture(scope="module")
def made() -> Schema:
    found = schema(VALUES, "Values")
    jsonschema.Draft7Validator.check_schema(found)
    return found


@pytest.mark.parametrize(
    "values",
    [
        {}, {"count": 9}, {"most": None}, {"most": "25%"}, {"most": 2}, {"choice": ""}, {"text": "xx"}, {"port": 65_535},
        {"env": {"A": 1, "B": "b", "C": True}}, {"resources": {"limits": {"x": 1}, "requests": {"cpu": 1}}},
        {"resources": {"user": None}}, {"secrets": ["a", {"name": "b"}]}, {"block": {"enabled": False, "share": 1}},
    ],
)  # fmt: skip
def test_what_the_comments_allow_is_taken(made: Schema, values: dict[str, Any]) -> None:
    assert takes(made, values)


@pytest.mark.parametrize(
    "values",
    [
        {"counts": 1}, {"count": -1}, {"count": 10}, {"count": "1"}, {"most": []}, {"choice": "c"}, {"text": "y"}, {"port": 0},
        {"env": {"A": {}}}, {"env": []}, {"resources": []}, {"resources": {"user": "1"}}, {"secrets": [1]}, {"secrets": [{}]},
        {"block": {"enabled": "yes"}}, {"block": {"other": 1}},
    ],
)  # fmt: skip
def test_everything_else_is_refused(made: Schema, values: dict[str, Any]) -> None:
    assert not takes(made, values)


def test_what_stands_above_a_value_is_its_description(made: Schema) -> None:
    assert made["properties"]["count"]["description"] == "How many."
    assert made["properties"]["text"]["description"] == "Comes after its mark."
    assert made["properties"]["block"]["properties"]["share"]["description"] == "Share."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("a: 1\n", "line 1: a has no comment that explains it"),
        ("# A.\na: 1\n\n\nb: 1\n", "line 5: b has no comment"),
        ("# A.\na: []\n", "line 2: a is a list; say of what"),
        ("# A.\na:\n", "line 2: a is null; say its type"),
        ("- a\n", "holds no mapping"),
    ],
)
def test_a_value_that_is_not_explained_or_whose_type_cannot_be_told_is_named(values: str, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        schema(values, "Values")
