"""What the registry should hold, and what is to be said of each resource: what, a word for it, and a sentence. Pure.

Two namespaces may have a resource of one name, but dashboards have one name for all viewers. Who had it first keeps it, the other is
told so; it has its turn when the first is gone. Entries of another owner (a folder, an operator of other namespaces) are not touched.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.contract.claims import Claim, Kind, settle
from services.contract.registry import Entry, Fault
from services.contract.sources import held as source_of
from services.operator.reading import Reader
from services.operator.resources import Resource


class Reason(StrEnum):
    """Why the condition Ready is what it is. Goes to the condition, the event, the metric and the log."""

    accepted = "Accepted"
    invalid = "Invalid"
    name_taken = "NameTaken"
    registry_away = "RegistryAway"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a resource. panels, memory: of the dashboard that is shown, None of a source or where nobody can tell."""

    resource: Resource
    reason: Reason
    message: str
    panels: int | None = None
    memory: int | None = None

    @property
    def ready(self) -> bool:
        return self.reason is Reason.accepted


@dataclass(frozen=True, slots=True)
class Decision:
    """wanted: the entries of these resources by name. verdicts: as they are true once that is written."""

    wanted: Mapping[str, Entry]
    verdicts: tuple[Verdict, ...]


def decide(
    kind: Kind,
    resources: Iterable[Resource],
    held: Mapping[str, Entry],
    kept: Mapping[str, Entry],
    mine: Callable[[str], bool],
    reader: Reader,
) -> Decision:
    """held: what the registry holds; kept: what was wanted before, for the registry may have lost it; mine: is a source of ours."""
    inorder = sorted(resources, key=lambda item: (item.created, item.namespace, item.name))
    claims = {item.source: reader.claim(item) for item in inorder}
    foreign = {name: entry for name, entry in held.items() if not mine(entry.source)}
    before = {name: entry for name, entry in held.items() if name not in foreign} | dict(kept)
    settled = settle((claim for claim in claims.values() if claim.name not in foreign), before)
    verdicts = []
    for resource in inorder:
        claim = claims[resource.source]
        has = settled.get(resource.name)
        holder = has.entry if has else foreign[resource.name]
        verdicts.append(_verdict(resource, claim, holder, reader))
    return Decision({name: item.entry for name, item in settled.items()}, tuple(verdicts))


def undecided(resources: Iterable[Resource], why: str, reader: Reader) -> tuple[Verdict, ...]:
    """What is to be said while nobody knows what the registry holds: nothing of resources of which all has been said."""
    return tuple(_waiting(item, reader.claim(item), why) for item in resources if not _is_told(item))


def delayed(decision: Decision, held: Mapping[str, Entry], why: str, reader: Reader) -> tuple[Verdict, ...]:
    """The verdicts where writing has failed: of what is not there yet, that it is not."""
    return tuple(
        _waiting(verdict.resource, reader.claim(verdict.resource), why)
        if verdict.ready and held.get(verdict.resource.name) != decision.wanted.get(verdict.resource.name)
        else verdict
        for verdict in decision.verdicts
    )


def _verdict(resource: Resource, claim: Claim, holder: Entry, reader: Reader) -> Verdict:
    """holder: the entry that has the name."""
    if holder.source != resource.source:
        if claim.fault is not None:
            return Verdict(resource, Reason.invalid, f"{_told(claim.fault)}; nothing of it is in force", _none(resource))
        message = f"metadata.name: {resource.name!r} is taken by {holder.source}, which had it first"
        return Verdict(resource, Reason.name_taken, message, _none(resource))
    if claim.fault is None:
        return _in_force(resource, Reason.accepted, "", holder, reader)
    rest = "the last good version stays in force" if holder.document else "there is no good version yet"
    return _in_force(resource, Reason.invalid, f"{_told(claim.fault)}; {rest}", holder, reader)


def _in_force(resource: Resource, reason: Reason, message: str, entry: Entry, reader: Reader) -> Verdict:
    if resource.kind == "Source":
        source = source_of(entry)
        return Verdict(resource, reason, message or (f"topic {source.topic} is read" if source else ""))
    panels, memory = reader.size(entry)
    return Verdict(resource, reason, message or f"{panels} panel{'' if panels == 1 else 's'} shown", panels, memory)


def _waiting(resource: Resource, claim: Claim, why: str) -> Verdict:
    if claim.fault is not None:
        return Verdict(resource, Reason.invalid, _told(claim.fault))
    return Verdict(resource, Reason.registry_away, f"not written yet, it is tried again: {why}")


def _is_told(resource: Resource) -> bool:
    told = resource.condition
    return bool(told) and told.get("observedGeneration") == resource.generation


def _none(resource: Resource) -> int | None:
    return 0 if resource.kind == "Dashboard" else None


def _told(fault: Fault) -> str:
    return f"{fault.path}: {fault.reason}"
