"""What the registry should hold, given the files of a folder."""

import textwrap

from hypothesis import given
from hypothesis import strategies as st

from services.contract.registry import Entry, Fault
from services.local.foldercontent import entries


def dashboard(name: str, *, metric: str = "m", fn: str = "avg") -> str:
    return textwrap.dedent(f"""\
        apiVersion: tideboard.dev/v1alpha1
        kind: Dashboard
        metadata:
          name: {name}
        spec:
          panels:
            - id: a
              type: stat
              query: {{metric: {metric}, fn: {fn}}}
        """)


def summary(found: dict[str, Entry]) -> dict[str, tuple[str, bool, Fault | None]]:
    return {name: (entry.source, entry.document is not None, entry.fault) for name, entry in found.items()}


def test_every_document_of_every_file_is_an_entry() -> None:
    found = entries({"d/a.yaml": dashboard("a"), "d/bc.yaml": dashboard("b") + "---\n" + dashboard("c")}, {})
    assert summary(found) == {"a": ("d/a.yaml", True, None), "b": ("d/bc.yaml", True, None), "c": ("d/bc.yaml", True, None)}
    assert found["a"].dashboard() is not None


def test_the_revision_changes_with_the_document_and_only_then() -> None:
    first = entries({"d/a.yaml": dashboard("a")}, {})["a"]
    again = entries({"d/a.yaml": "# a comment\n" + dashboard("a")}, {"a": first})["a"]
    other = entries({"d/a.yaml": dashboard("a", metric="n")}, {"a": first})["a"]
    assert again == first
    assert other.revision != first.revision


def test_a_broken_file_keeps_its_last_good_document_and_says_where_it_is_broken() -> None:
    good = entries({"d/a.yaml": dashboard("a")}, {})
    broken = entries({"d/a.yaml": dashboard("a", fn="avrg")}, good)["a"]
    assert (broken.document, broken.revision) == (good["a"].document, good["a"].revision)
    assert broken.fault is not None
    assert (broken.fault.path, broken.fault.line, broken.fault.source) == ("spec.panels[0].query.fn", 9, "d/a.yaml")
    assert "'avrg' is not a function" in broken.fault.reason


def test_what_is_mended_is_in_order_again() -> None:
    good = entries({"d/a.yaml": dashboard("a")}, {})
    broken = entries({"d/a.yaml": "{"}, good)
    assert entries({"d/a.yaml": dashboard("a")}, broken) == good


def test_a_file_that_is_no_yaml_keeps_all_that_it_held() -> None:
    text = dashboard("a") + "---\n" + dashboard("b")
    good = entries({"d/ab.yaml": text}, {})
    broken = entries({"d/ab.yaml": text + "  bad\n"}, good)
    assert {name: entry.document for name, entry in broken.items()} == {name: entry.document for name, entry in good.items()}
    assert all(entry.fault and entry.fault.line for entry in broken.values())


def test_one_broken_document_leaves_the_others_of_its_file_alone() -> None:
    good = entries({"d/ab.yaml": dashboard("a") + "---\n" + dashboard("b")}, {})
    found = entries({"d/ab.yaml": dashboard("a", fn="no") + "---\n" + dashboard("b", metric="n")}, good)
    assert found["a"].document == good["a"].document
    assert found["b"].fault is None
    assert found["b"].revision != good["b"].revision


def test_a_file_that_was_never_in_order_is_listed_without_a_document() -> None:
    found = entries({"d/My Host!.yaml": "kind: Something", "d/b.yaml": dashboard("bee", fn="no")}, {})
    assert {name: entry.document for name, entry in found.items()} == {"my-host": None, "bee": None}
    assert found["my-host"].fault is not None


def test_a_dashboard_whose_name_was_broken_is_still_the_same_dashboard() -> None:
    good = entries({"d/a.yaml": dashboard("a")}, {})
    found = entries({"d/a.yaml": dashboard("'A A'")}, good)
    assert list(found) == ["a"]
    assert found["a"].fault is not None
    assert found["a"].fault.path == "metadata.name"
    assert found["a"].fault.line == 4


def test_a_file_that_is_gone_takes_its_dashboards_with_it() -> None:
    good = entries({"d/a.yaml": dashboard("a"), "d/b.yaml": dashboard("b")}, {})
    assert list(entries({"d/b.yaml": dashboard("b")}, good)) == ["b"]


def test_of_two_files_with_one_name_the_one_that_had_it_keeps_it_and_the_other_is_named() -> None:
    mine = entries({"d/z.yaml": dashboard("a")}, {})
    found = entries({"d/b.yaml": dashboard("a", metric="n"), "d/z.yaml": dashboard("a")}, mine)["a"]
    assert found.document == mine["a"].document
    assert found.fault == Fault("metadata.name", "'a' is also the name of a dashboard in d/z.yaml", 4, "d/b.yaml")


def test_a_name_twice_from_the_start_goes_to_the_first_file() -> None:
    found = entries({"d/b.yaml": dashboard("a"), "d/a.yaml": dashboard("a", metric="n")}, {})["a"]
    assert found.source == "d/a.yaml"
    assert found.fault is not None
    assert found.fault.source == "d/b.yaml"


@given(st.lists(st.sampled_from(["", "{", dashboard("a"), dashboard("a", fn="no"), dashboard("b")]), min_size=1, max_size=8))
def test_once_there_was_a_good_document_there_always_is_one_while_the_file_says_that_dashboard(texts: list[str]) -> None:
    held: dict[str, Entry] = {}
    for text in texts:
        had = {name for name, entry in held.items() if entry.document}
        held = entries({"d/a.yaml": text}, held)
        assert all(held[name].document for name in had & set(held))
        assert all(entry.document or entry.fault for entry in held.values())


# Sources


def source(name: str, topic: str = "t") -> str:
    return f"apiVersion: tideboard.dev/v1alpha1\nkind: Source\nmetadata:\n  name: {name}\nspec:\n  topic: {topic}\n  format: json\n"


def test_a_file_may_hold_dashboards_and_sources_and_a_name_may_be_of_both() -> None:
    files = {"d/a.yaml": dashboard("a") + "---\n" + source("a") + "---\n" + source("b")}
    assert set(entries(files, {})) == {"a"}
    found = entries(files, {}, "Source")
    assert summary(found) == {"a": ("d/a.yaml", True, None), "b": ("d/a.yaml", True, None)}


def test_a_broken_source_keeps_its_last_good_document_and_is_no_dashboard() -> None:
    good = entries({"d/s.yaml": source("s")}, {}, "Source")
    files = {"d/s.yaml": source("s", topic="'a b'")}
    broken = entries(files, good, "Source")["s"]
    assert broken.document == good["s"].document
    assert broken.fault is not None
    assert (broken.fault.path, broken.fault.line) == ("spec.topic", 6)
    assert entries(files, {}) == {}


def test_a_file_that_is_no_yaml_is_listed_once_as_what_it_was_meant_to_be() -> None:
    files = {"d/s.yaml": source("s") + "\tbad", "d/a.yaml": dashboard("a") + "\tbad"}
    assert (set(entries(files, {})), set(entries(files, {}, "Source"))) == ({"a"}, {"s"})


def test_a_name_twice_is_told_of_the_kind_that_it_is() -> None:
    found = entries({"d/a.yaml": source("a"), "d/b.yaml": source("a")}, {}, "Source")["a"]
    assert found.fault is not None
    assert found.fault.reason == "'a' is also the name of a source in d/a.yaml"
