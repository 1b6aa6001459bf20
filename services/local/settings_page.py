"""docs/settings.md, printed from the settings classes: `python -m services.local.settings_page > docs/settings.md`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.local.catalog import Section, sections
from services.local.children import ROOT
from services.runtime.settings import Described, describe

_HEAD = """# Settings

<!-- Printed by `make docs` from the settings classes; a test compares. -->

Every setting is an environment variable, and the same as a flag: `python -m services gateway --gateway-port 8090` is
`TIDEBOARD_GATEWAY_PORT=8090 python -m services gateway`. A flag goes before the variable. Truth is written `true` or `false`, a list with
commas between. The target `all` takes the settings of every service, and hands them on; there the admin ports count up from
`TIDEBOARD_ADMIN_PORT`: ingestor, aggregator, gateway, operator, collector, and `all` itself.
"""


def page() -> str:
    return "\n".join([_HEAD, *(line for section in sections() for line in _section(section))])


def shown(value: object) -> str:
    """A value as a person would write it in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        return str(value.relative_to(ROOT))
    return str(value)


def explained(described: Described) -> str:
    """The help of a setting with the values it can have, where they are few."""
    choices = f" ({', '.join(described.choices)})" if described.choices else ""
    return f"{described.help.rstrip('.')}{choices}."


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.title}\n"
    for cls in section.classes:
        yield f"{' '.join((cls.__doc__ or '').split())}\n"
        yield "| variable | flag | default | unit | what it is |"
        yield "|---|---|---|---|---|"
        yield from (_row(described, default) for described, default in describe(cls))
        yield ""


def _row(described: Described, default: Any) -> str:
    text = shown(default)
    cells = (f"`{described.env}`", f"`{described.flag}`", f"`{text}`" if text else "", described.unit, explained(described))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(page(), end="")
