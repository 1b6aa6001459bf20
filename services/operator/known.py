"""Known: the resources as far as anybody has told, from lists and from the watch, in whatever order they come. Pure.

The watch is quick, lists are complete: after an interruption the watch does not tell what was deleted meanwhile.
"""

from collections.abc import Iterable

from services.contract.claims import Kind
from services.operator.resources import Body, Key, Resource, read

DELETED = "DELETED"


class Known:
    """Every resource by kind, namespace and name. namespaces: what has to be listed, '' for all of them at once."""

    def __init__(self, kinds: Iterable[Kind], namespaces: Iterable[str]) -> None:
        self._unlisted = {(kind, namespace) for kind in kinds for namespace in namespaces}
        self._held: dict[Key, Resource] = {}
        self._told: dict[Key, int] = {}  # when the watch, or a write, last told of it
        self._gone: dict[str, int] = {}  # uid: when the watch told that it is gone
        self._unheard: dict[Key, int] = {}  # the version that a list brought, and the watch has not
        self._turn = 0

    def listed_all(self, kind: Kind) -> bool:
        """Whether every list of this kind has come at least once, so that what is not known is not there."""
        return not any(unlisted == kind for unlisted, _ in self._unlisted)

    def of(self, kind: Kind) -> list[Resource]:
        return [resource for key, resource in self._held.items() if key[0] == kind]

    def get(self, key: Key) -> Resource | None:
        return self._held.get(key)

    def deaf(self, kind: Kind) -> bool:
        """Whether the watch has not told of something that a list brought before; asked when the next list is about to be made."""
        return any(key[0] == kind for key in self._unheard)

    def hear(self, kind: Kind, event: str | None, body: Body) -> bool:
        """What the watch tells; whether that is news. event: DELETED, or anything else for a resource that is there."""
        resource = read(kind, body)
        held = self._held.get(resource.key)
        self._turn += 1
        if resource.version >= self._unheard.get(resource.key, 0):
            self._unheard.pop(resource.key, None)
        if event == DELETED:
            self._gone[resource.uid] = self._turn
            if held is None or held.uid != resource.uid:  # another one has its name by now
                return False
            del self._held[resource.key]
            return True
        self._told[resource.key] = self._turn
        return self._take(resource)

    def written(self, kind: Kind, body: Body) -> None:
        """What the API server has answered to a write of ours; the watch has yet to tell it."""
        self._turn += 1
        resource = read(kind, body)
        self._told[resource.key] = self._turn
        self._take(resource)

    def begin(self) -> int:
        """Before a list is asked for: what is told from here on may be newer than the list."""
        return self._turn

    def listed(self, kind: Kind, namespace: str, bodies: Iterable[Body], since: int) -> int:
        """A complete list, of one namespace or, by '', of all; how much of it was news. since: what `begin` said before."""
        found = [read(kind, body) for body in bodies]
        new = [resource for resource in found if self._gone.get(resource.uid, 0) <= since and self._take(resource)]
        news = len(new)
        first = (kind, namespace) in self._unlisted  # before which nobody watches
        self._unheard = {key: version for key, version in self._unheard.items() if key[0] != kind} | (
            {} if first else {resource.key: resource.version for resource in new}
        )
        there = {resource.key for resource in found}
        for key in [key for key in self._held if key[0] == kind and namespace in ("", key[1]) and key not in there]:
            if self._told.get(key, 0) <= since:
                del self._held[key]
                news += 1
        self._unlisted.discard((kind, namespace))
        self._told = {key: turn for key, turn in self._told.items() if turn > since or key in self._held}
        self._gone = {uid: turn for uid, turn in self._gone.items() if turn > since}
        return news

    def _take(self, resource: Resource) -> bool:
        held = self._held.get(resource.key)
        if held is not None and resource.version <= held.version and (resource.version or held == resource):
            return False
        self._held[resource.key] = resource
        return held is None or held.uid != resource.uid or held.generation != resource.generation
