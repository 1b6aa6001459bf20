"""YAML with line numbers."""

import textwrap

import pytest

from services.local.yamlfile import YamlError, documents

TEXT = textwrap.dedent("""\
    # a comment
    kind: Dashboard
    spec:
      panels:
        - id: a
          query: {metric: m, fn: avg}
        - id: b
          query:
            metric: m
            where:
              host.name: x
            fn: [p50, p98]
    """)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 2),
        ("kind", 2),
        ("spec.panels", 4),
        ("spec.panels[0]", 5),
        ("spec.panels[0].query.fn", 6),
        ("spec.panels[1].query.fn", 12),
        ("spec.panels[1].query.fn[1]", 12),
        ("spec.panels[1].query.metric", 9),
        ("spec.panels[1].type", 7),  # missing: where it should have been
        ("spec.panels[7].type", 4),
        ("document", 2),
    ],
)
def test_a_path_lies_on_its_line(path: str, line: int) -> None:
    (document,) = documents(TEXT)
    assert document.line_of(path) == line


def test_a_file_holds_any_number_of_documents_and_empty_ones_do_not_count() -> None:
    found = documents("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n")
    assert [document.content for document in found] == [{"a": 1}, {"b": 2}]
    assert [document.line for document in found] == [2, 7]
    assert documents("") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\nb: *nobody\n", 2),
        ("a: !!python/object:os.system {}\n", 1),
        ("a: 1\nb: 2\na: 3\n", 3),
        ("a:\n  - x: 1\n    y: 2\n    x: 3\n", 4),
        ("a: 2026-13-45\n", 0),
        ("a: 1\nb: \x07\n", 2),
    ],
)
def test_text_that_cannot_be_read_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(YamlError) as caught:
        documents(text)
    assert caught.value.line == line
    assert caught.value.reason


def test_an_alias_to_itself_does_no_harm() -> None:
    (document,) = documents("a: &x [*x]\n")
    assert document.line_of("a[0][0][0]") == 1
