"""Reading: what a resource's document says, by the contract's reader, and how large a dashboard is. Each is looked at once. Pure."""

from typing import Final

from services.contract.claims import Claim, parse
from services.contract.cost import cost
from services.contract.document import DocumentError
from services.contract.registry import Entry, Fault
from services.operator.resources import Resource

MOST: Final = 10_000
"""Of what is remembered; then it begins anew."""


class Reader:
    """Remembers, since everything is decided anew whenever one thing changes."""

    def __init__(self) -> None:
        self._claims: dict[tuple[str, int], Claim] = {}
        self._sizes: dict[str, tuple[int, int | None]] = {}

    def claim(self, resource: Resource) -> Claim:
        """What it says of its name: its document, or what is wrong with it."""
        key = resource.uid, resource.generation
        if key not in self._claims:
            if len(self._claims) >= MOST:
                self._claims.clear()
            self._claims[key] = _claim(resource)
        return self._claims[key]

    def size(self, entry: Entry) -> tuple[int, int | None]:
        """Panels, and estimated bytes in Redis, of the dashboard that is in force; (0, None) where there is none."""
        if entry.document is None:
            return 0, None
        if entry.revision not in self._sizes:
            if len(self._sizes) >= MOST:
                self._sizes.clear()
            dashboard = entry.dashboard()
            self._sizes[entry.revision] = (len(dashboard.panels), cost(dashboard).bytes) if dashboard else (0, None)
        return self._sizes[entry.revision]


def _claim(resource: Resource) -> Claim:
    document = resource.document
    try:
        parse(resource.kind, document)
    except DocumentError as error:
        fault = Fault(error.path, error.reason, 0, resource.source)
        return Claim(resource.name, resource.source, 0, None, fault)
    return Claim(resource.name, resource.source, 0, document, None)
