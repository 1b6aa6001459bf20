"""What a bench leaves on the page of figures."""

from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import page as pages
from tests.bench.report import Table

BEFORE = (
    "# Benchmarks\n\nOf some machine.\n\n## One\n\nOld.\n\n| a |\n| --- |\n| 1 |\n\n## Two\n\nStays.\n\n| a |\n| --- |\n| 2 |\n"
)


def table(title: str, value: str) -> Table:
    return Table(title, "New.", ["a"], [[value]])


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "benchmarks.md"
    found.write_text(BEFORE)
    monkeypatch.setattr(pages, "PAGE", found)
    return found


def test_a_table_takes_the_place_of_the_one_of_its_title_and_a_new_one_comes_last(page: Path) -> None:
    pages.keep(table("Three", "3"), table("One", "5"))
    text = page.read_text()
    assert [line for line in text.splitlines() if line.startswith(("## ", "| ")) and "-" not in line] == [
        "## One", "| a |", "| 5 |", "## Two", "| a |", "| 2 |", "## Three", "| a |", "| 3 |",
    ]  # fmt: skip
    assert text.startswith("# Benchmarks\n\nOf some machine.\n\n## One\n\nNew.\n")
    pages.keep(table("One", "5"))
    assert page.read_text() == text


def test_a_section_names_the_machine_that_it_was_measured_on_and_the_others_keep_theirs(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for title, where in (("One", "this one, 2 cores"), ("Two", "that one, 4 cores"), ("One", "that one, 4 cores")):
        monkeypatch.setattr(pages, "machine", lambda where=where: where)
        pages.keep(table(title, "5"))
        sections = dict(part.split("\n", 1) for part in page.read_text().split("\n## ")[1:])
        assert sections[title].endswith(f"\n\nMachine: {where}.\n")
        assert sections[title].count("Machine:") == 1
    pages.keep(table("Three", "3"))
    assert page.read_text().count("Machine: that one, 4 cores.") == 3


@pytest.mark.parametrize(("arguments", "kept"), [(["--write"], True), ([], False)])
def test_what_was_measured_is_kept_also_where_the_next_bench_fails(
    page: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], kept: bool
) -> None:
    def fail() -> Table:
        raise AssertionError("not filled")

    monkeypatch.setattr(bench, "BENCHES", {"three": lambda: [table("Three", "3"), table("Four", "4")], "broken": fail})
    with pytest.raises(AssertionError, match="not filled"):
        bench.main([*arguments, "three", "broken"])
    assert [title in page.read_text() for title in ("## Three", "## Four", "## Two")] == [kept, kept, True]
