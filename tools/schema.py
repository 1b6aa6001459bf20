"""A JSON schema (draft 7, which Helm 3 and Helm 4 read) from a values.yaml: types from the defaults, descriptions from the comments above them.

Objects have the keys that are in the file and no others. What a default cannot show, a comment says in a line of its own:

    # @schema nullable type=integer minimum=0
    replicas:

    nullable        null is a value, too
    open            any keys; of the default's only those with a line of their own are checked
    map=string      any keys, with values of that kind (string, or scalar: also numbers and truths)
    items=string    what a list holds (string, port, object, nameOrReference), and minItems=n
    type=a,b  enum=a,b  pattern=...  minimum=n  maximum=n  port

Pure: text in, a dictionary out. `tools.chart` writes it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

Schema = dict[str, Any]

_MARK: Final = "@schema"
_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "seq": "array", "map": "object"}
_PORT: Final[Schema] = {"minimum": 1, "maximum": 65_535}
_KINDS: Final[Mapping[str, Schema]] = {
    "string": {"type": "string"},
    "port": {"type": "integer", **_PORT},
    "object": {"type": "object"},
    "scalar": {"type": ["string", "number", "boolean"]},
    "nameOrReference": {
        "anyOf": [{"type": "string"}, {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}]
    },
}
_NUMBERS: Final = ("minimum", "maximum", "minItems")


class SchemaError(Exception):
    """What values.yaml lacks, and in which line."""


def schema(text: str, title: str) -> Schema:
    """The schema of a values.yaml. SchemaError where a value is not documented, or its type cannot be told."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise SchemaError("values.yaml holds no mapping")
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": title}
    return head | _object(root, text.splitlines(), opened=False)


def _object(node: yaml.MappingNode, lines: list[str], *, opened: bool) -> Schema:
    properties: Schema = {}
    for key, value in node.value:
        prose, marks = _above(lines, key.start_mark.line)
        if opened and not marks:
            continue
        if not opened and not prose and not isinstance(value, yaml.MappingNode):
            raise SchemaError(f"line {key.start_mark.line + 1}: {key.value} has no comment that explains it")
        described = {"description": prose} if prose else {}
        properties[key.value] = described | _value(key, value, marks, lines)
    found: Schema = {"type": "object", "additionalProperties": opened}
    return found | ({"properties": properties} if properties else {})


def _value(key: yaml.Node, node: yaml.Node, marks: Mapping[str, str], lines: list[str]) -> Schema:
    where = f"line {key.start_mark.line + 1}: {key.value}"
    found = _typed(node, marks, lines, where)
    if "nullable" in marks:
        types = found["type"] if isinstance(found["type"], list) else [found["type"]]
        found["type"] = [*types, "null"]
    for name in _NUMBERS:
        if name in marks:
            found[name] = int(marks[name])
    if "pattern" in marks:
        found["pattern"] = marks["pattern"]
    if "enum" in marks:
        found["enum"] = marks["enum"].split(",")
    return found | (_PORT if "port" in marks else {})


def _typed(node: yaml.Node, marks: Mapping[str, str], lines: list[str], where: str) -> Schema:
    if isinstance(node, yaml.MappingNode):
        if "map" in marks:
            return {"type": "object", "additionalProperties": _KINDS[marks["map"]]}
        return _object(node, lines, opened="open" in marks)
    if isinstance(node, yaml.SequenceNode):
        if "items" not in marks:
            raise SchemaError(f"{where} is a list; say of what: # {_MARK} items=string")
        return {"type": "array", "items": dict(_KINDS[marks["items"]])}
    if "type" in marks:
        types = marks["type"].split(",")
        return {"type": types if len(types) > 1 else types[0]}
    kind = node.tag.rpartition(":")[2]
    if kind not in _TYPES:
        raise SchemaError(f"{where} is {kind}; say its type: # {_MARK} type=integer")
    return {"type": _TYPES[kind]}


def _above(lines: list[str], at: int) -> tuple[str, dict[str, str]]:
    """What the comment right above a line says: prose, and marks."""
    indent = re.match(r" *", lines[at])
    start = f"{indent[0] if indent else ''}#"
    prose, marks = list[str](), dict[str, str]()
    for line in reversed(lines[:at]):
        if not line.startswith(start):
            break
        said = line.removeprefix(start).strip()
        if said.startswith(_MARK):
            marks |= dict(word.partition("=")[::2] for word in said.removeprefix(_MARK).split())
        else:
            prose.append(said)
    return " ".join(reversed(prose)), marks
