"""YAML with line numbers: the documents of a file, and where in it a path such as spec.panels[2].query.fn lies. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


class YamlError(ValueError):
    """Text that is not YAML, or a key that is there twice. line: 1 is the first."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. content: as decoded; line: where it begins."""

    content: Any
    _node: yaml.Node

    @property
    def line(self) -> int:
        return _line(self._node)

    def line_of(self, path: str) -> int:
        """Where the path lies, or as much of it as there is: a key that is missing lies where it should have been."""
        node, line = self._node, self.line
        for step in _STEP.finditer(path):
            found = _item(node, int(step[2])) if step[2] else _value(node, step[1])
            if found is None:
                return line
            line, node = found
        return line


def documents(text: str) -> list[Document]:
    """Every document that is not empty. YamlError where the text cannot be read."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            return list(_documents(loader))
        finally:
            loader.dispose()
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(f"is not YAML: {error.problem or error.context}", mark.line + 1 if mark else 0) from None
    except yaml.reader.ReaderError as error:
        raise YamlError(f"is not YAML: {error.reason}", text.count("\n", 0, error.position) + 1) from None
    except (ValueError, RecursionError) as error:  # such as a date that does not exist
        raise YamlError(f"has a value that cannot be read: {error}", 0) from None


def _documents(loader: yaml.SafeLoader) -> Iterator[Document]:
    while loader.check_node():
        node = loader.get_node()
        if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
            continue
        _refuse_twins(node)
        yield Document(loader.construct_document(node), node)


def _refuse_twins(node: yaml.Node, seen: set[int] | None = None) -> None:
    """PyYAML would take the last of two equal keys without a word."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twins(item, seen)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys and key.value != "<<":
                raise YamlError(f"the key {key.value!r} is there twice", _line(key))
            keys.add(str(key.value))
            _refuse_twins(value, seen)


def _item(node: yaml.Node, index: int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and index < len(node.value):
        return _line(node.value[index]), node.value[index]
    return None


def _value(node: yaml.Node, name: str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name:
                return _line(key), value
    return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
