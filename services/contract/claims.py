"""Claims: what an owner of the YAML says of a name, and the entry of the registry that becomes of it. Pure.

Owners are the folder on a laptop (services.local) and the operator in a cluster; reading their documents is their own business, and so is writing
the registry. A document that is broken keeps the last good one of the same owner in force, with the fault beside it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from services.contract import dashboards, sources
from services.contract.registry import VERSION, Entry, Fault

Kind = Literal["Dashboard", "Source"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one document says about one dashboard or source. source: the file or resource; line: of its name in a file, 0 where it has none."""

    name: str
    source: str
    line: int
    document: dict[str, Any] | None
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Settled:
    """Who has a name. others: who claim it, too, in vain."""

    entry: Entry
    chosen: Claim
    others: tuple[Claim, ...]


def settle(claims: Iterable[Claim], before: Mapping[str, Entry]) -> dict[str, Settled]:
    """The entries by name. before: those of this owner so far, which hold the last good documents.

    Of several claims of one name the one that had it before keeps it, or else the first one.
    """
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        found.setdefault(claim.name, []).append(claim)
    return {name: _settled(claiming, before.get(name)) for name, claiming in sorted(found.items())}


def parse(kind: Kind, document: object) -> dashboards.Dashboard | sources.Source:
    """The dashboard or source of a document. DocumentError names the first thing that is wrong."""
    return sources.parse(document) if kind == "Source" else dashboards.parse(document)


def _settled(claiming: list[Claim], before: Entry | None) -> Settled:
    chosen = next((claim for claim in claiming if before is not None and claim.source == before.source), claiming[0])
    others = tuple(claim for claim in claiming if claim is not chosen)
    name, source, fault = chosen.name, chosen.source, chosen.fault
    if chosen.document is not None:
        entry = Entry(VERSION, name, _digest(chosen.document), chosen.document, source, fault)
    elif before is not None and before.source == source:
        entry = Entry(VERSION, name, before.revision, before.document, source, fault)
    else:
        entry = Entry(VERSION, name, "", None, source, fault)
    return Settled(entry, chosen, others)


def _digest(document: dict[str, Any]) -> str:
    return hashlib.blake2b(msgspec.json.encode(document, order="deterministic"), digest_size=8).hexdigest()
