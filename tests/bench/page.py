"""docs/benchmarks.md: a section for each table, in the order in which they first came.

What is measured now takes the place of the section of the same title, or comes last where there is none; the rest stays as it is.
"""

from pathlib import Path
from typing import Final

from tests.bench.report import Table, machine

PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def keep(*tables: Table) -> None:
    """Put tables into the page, at once, so that what is measured next may fail. Each says on which machine it was measured."""
    head, *parts = PAGE.read_text().split("\n## ")
    sections = {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}
    for table in tables:
        sections[table.title] = f"{table.markdown()}\nMachine: {machine()}.\n"
    PAGE.write_text(f"{head.rstrip()}\n\n" + "\n".join(sections.values()))
