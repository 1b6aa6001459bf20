"""Pieces of structural OpenAPI schemas. What they are put together to is `dashboards`' and `sources`' business."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.contract import document

Schema = dict[str, Any]

MOST_DURATION: Final = 27
"""Characters of the longest duration: 12 digits, a point, 12 digits, a unit of two."""


def text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def integer(description: str, least: int, most: int) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": least, "maximum": most, "description": description}


def number(description: str) -> Schema:
    return {"type": "number", "description": description}


def truth(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def anything(description: str, **more: Any) -> Schema:
    """A value of several types, which a structural schema cannot spell; `pattern` is only about texts."""
    return {"x-kubernetes-preserve-unknown-fields": True, "description": description, **more}


def duration(description: str, *rules: Schema) -> Schema:
    found = text(description, maxLength=MOST_DURATION, pattern=whole(document.DURATION_PATTERN))
    return {**found, "x-kubernetes-validations": list(rules)} if rules else found


def items(description: str, each: Schema, **more: Any) -> Schema:
    return {"type": "array", "description": description, "items": each, **more}


def fields(description: str, required: tuple[str, ...] = (), /, *rules: Schema, **properties: Schema) -> Schema:
    """An object. A property whose name is a word of Python has an underscore after it here."""
    found: Schema = {"type": "object", "description": description}
    if required:
        found["required"] = list(required)
    found["properties"] = {name.rstrip("_"): schema for name, schema in properties.items()}
    if rules:
        found["x-kubernetes-validations"] = list(rules)
    return found


def by_name(description: str, each: Schema, **more: Any) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": each, **more}


def whole(pattern: re.Pattern[str]) -> str:
    """Python's \\Z is \\z elsewhere; without a flag, $ is the end of the text in RE2."""
    return f"^({pattern.pattern.removesuffix(chr(92) + 'Z')})$"


def rule(cel: str, message: str, saying: str = "") -> Schema:
    """saying: an expression that gives a better message, where it can be computed."""
    return {"rule": cel, "message": message, **({"messageExpression": saying} if saying else {})}


def definition(kind: str, plural: str, columns: list[Mapping[str, Any]], spec: Schema, status: Schema, about: str) -> Schema:
    """A CustomResourceDefinition of one version."""
    group, version = document.API_VERSION.split("/")
    name = text("Also the name under which it is shown, in all namespaces.", maxLength=63, pattern=whole(document.NAME_PATTERN))
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": {"app.kubernetes.io/part-of": "tideboard"}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(), "categories": ["tideboard"],
            },
            "versions": [{
                "name": version,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [dict(column) for column in columns],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": about,
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object", "properties": {"name": name}},
                        "spec": spec,
                        "status": status,
                    },
                }},
            }],
        },
    }  # fmt: skip
