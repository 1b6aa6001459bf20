"""What `python -m services --help` says."""

import textwrap
from collections.abc import Iterator

from services.local.catalog import ERRANDS, SERVICES, Section, sections
from services.local.settings_page import explained, shown
from services.runtime.settings import describe

_WIDTH = 100
_HEAD = """usage: python -m services TARGET [--setting VALUE]...

targets:
{targets}

Every setting is an environment variable, and the same as a flag.
"""


def usage(target: str) -> str:
    """The targets and the settings; of one target, where `target` is one."""
    everything = "runs all of these but the operator on this machine, with a broker and a Valkey of its own"
    targets = {**SERVICES, "all": everything, **ERRANDS}
    read = ("", target) if target in SERVICES else (target,)
    wanted = [section for section in sections() if target not in {**SERVICES, **ERRANDS} or section.target in read]
    head = _HEAD.format(targets="\n".join(f"  {name:12}{what}" for name, what in targets.items()))
    return "\n".join([head, *(line for section in wanted if section.classes for line in _section(section))])


def _section(section: Section) -> Iterator[str]:
    yield f"{section.title.lower()}:"
    for cls in section.classes:
        for described, default in describe(cls):
            unit = f" {described.unit}" if described.unit else ""
            yield f"  {described.flag} ({described.env}, {shown(default)}{unit})"
            yield textwrap.fill(explained(described), _WIDTH, initial_indent="      ", subsequent_indent="      ")
    yield ""
