"""Resources that come with an installation: what is applied, what is taken away, and what is left to whoever made it. Pure.

Helm looks up every kind of a release before it installs any of it, so a release cannot hold both a definition and a resource of that
definition. Its dashboards come as files of a ConfigMap, and the operator makes resources of them, which the ConfigMap owns: with the
release they go, by Kubernetes' own garbage collection.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from services.contract.document import API_VERSION
from services.operator.resources import GROUP, Body

LABEL: Final = f"{GROUP}/shipped-by"


class ShippedError(Exception):
    """A file that holds no resource; the message names it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The ConfigMap that the files are of."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Plan:
    """apply: whole objects. delete: what was ours and is in no file any more. foreign: names that somebody else has."""

    apply: tuple[Body, ...]
    delete: tuple[Body, ...]
    foreign: tuple[str, ...]


def resources(texts: Mapping[str, str], owner: Owner) -> list[dict[str, Any]]:
    """A Dashboard of each file, as it is applied. texts: by file's name."""
    return [_resource(name, text, owner) for name, text in sorted(texts.items())]


def plan(wanted: Sequence[Body], there: Iterable[Body], owner: Owner) -> Plan:
    """there: the resources of the namespace as they are."""
    held = {body["metadata"]["name"]: body for body in there}
    foreign = {name for name, body in held.items() if not _ours(body, owner)}
    names = {body["metadata"]["name"] for body in wanted}
    return Plan(
        apply=tuple(body for body in wanted if body["metadata"]["name"] not in foreign),
        delete=tuple(body for name, body in held.items() if name not in names | foreign),
        foreign=tuple(sorted(names & foreign)),
    )


def _ours(body: Body, owner: Owner) -> bool:
    labels = body["metadata"].get("labels") or {}
    return bool(labels.get(LABEL) == owner.name)


def _resource(file: str, text: str, owner: Owner) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ShippedError(f"{file}: {error}") from None
    match found:
        case {"apiVersion": str(version), "kind": "Dashboard", "metadata": {"name": str(name)}, "spec": spec} if (
            version == API_VERSION
        ):
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}
            metadata = {"name": name, "labels": {LABEL: owner.name}, "ownerReferences": [reference]}
            return {"apiVersion": version, "kind": "Dashboard", "metadata": metadata, "spec": spec}
    raise ShippedError(f"{file} holds no Dashboard of {API_VERSION} with a name and a spec")
