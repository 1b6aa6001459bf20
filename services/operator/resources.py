"""Custom resources as this program sees them: what an object of the API server says, and where an entry of the registry came from. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.contract.claims import Kind
from services.contract.document import API_VERSION

GROUP: Final = API_VERSION.split("/")[0]
PLURALS: Final[dict[Kind, str]] = {"Dashboard": "dashboards", "Source": "sources"}
KINDS: Final = tuple(PLURALS)

Body = Mapping[str, Any]
Key = tuple[Kind, str, str]


@dataclass(frozen=True, slots=True)
class Resource:
    """One object. version: which of two states of it is the newer one; generation: of its spec; created: RFC 3339."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    version: int
    generation: int
    created: str
    spec: Any
    status: Mapping[str, Any]

    @property
    def key(self) -> Key:
        return self.kind, self.namespace, self.name

    @property
    def source(self) -> str:
        """Who owns the entry in the registry, as kubectl would name it, with the namespace."""
        return f"{_prefix(self.kind)}{self.namespace}/{self.name}"

    @property
    def document(self) -> dict[str, Any]:
        """What the author wrote, without what Kubernetes and its tools have added."""
        spec = _with_rows(self.spec) if self.kind == "Dashboard" else self.spec
        return {"apiVersion": API_VERSION, "kind": self.kind, "metadata": {"name": self.name}, "spec": spec}

    @property
    def condition(self) -> Mapping[str, Any]:
        """The condition Ready as it stands; empty where there is none yet."""
        return next((item for item in conditions(self.status) if item.get("type") == "Ready"), {})


def read(kind: Kind, body: Body) -> Resource:
    """The resource of an object as the API server sends it."""
    meta = body["metadata"]
    version = str(meta.get("resourceVersion", ""))
    status = body.get("status")
    return Resource(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        # A number that only grows: said of all resources since Kubernetes 1.35, and so in all versions before it.
        version=int(version) if version.isdecimal() else 0,
        generation=int(meta.get("generation", 0)),
        created=str(meta.get("creationTimestamp", "")),
        spec=_plain(body.get("spec")),
        status=status if isinstance(status, Mapping) else {},
    )


def conditions(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The conditions of a status, whoever wrote them."""
    found = status.get("conditions")
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def ownership(kind: Kind, namespaces: frozenset[str] | None) -> Callable[[str], bool]:
    """Whether an entry's source is a resource of these namespaces, None for all. Others' entries are left alone."""
    prefix = _prefix(kind)

    def mine(source: str) -> bool:
        namespace, slash, name = source.removeprefix(prefix).partition("/")
        found = source.startswith(prefix) and bool(slash) and bool(name) and "/" not in name
        return found and (namespaces is None or namespace in namespaces)

    return mine


def _prefix(kind: Kind) -> str:
    return f"{kind.lower()}.{GROUP}/"


def _with_rows(spec: Any) -> Any:
    """To YAML 1.1, in which kubectl and Helm read, the y of a panel's grid is a truth unless it stands in quotes."""
    match spec:
        case {"panels": [*panels]}:
            return {**spec, "panels": [_with_row(panel) for panel in panels]}
    return spec


def _with_row(panel: Any) -> Any:
    match panel:
        case {"grid": {"true": row, **others}} if "y" not in others:
            return {**panel, "grid": {**others, "y": row}}
    return panel


def _plain(item: Any) -> Any:
    """Own copies of what may be a view on somebody else's object."""
    if isinstance(item, Mapping):
        return {str(key): _plain(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_plain(value) for value in item]
    return item
