"""What the documents of the registry say, read once each: reading a large one takes as long as many frames."""

from collections.abc import Collection
from typing import NamedTuple

from services.contract.cost import Cost, cost
from services.contract.dashboards import Dashboard
from services.contract.live import Error
from services.contract.registry import Entry, Fault
from services.gateway.stage import readable


class Document(NamedTuple):
    """dashboard: None where `error` says why. fault: what is wrong with the newest document, or why this gateway cannot read the good one."""

    dashboard: Dashboard | None
    error: Error | None
    fault: Fault | None
    cost: Cost | None


class Documents:
    """Of the entries that were asked for last, by name. To be shared by threads."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Entry, Document]] = {}

    def of(self, entry: Entry) -> Document:
        known = self._read.get(entry.name)
        if known is None or (known[0] is not entry and known[0] != entry):
            known = self._read[entry.name] = entry, _read(entry)
        return known[1]

    def keep(self, names: Collection[str]) -> None:
        """Forget all others."""
        for name in self._read.keys() - set(names):
            self._read.pop(name, None)


def _read(entry: Entry) -> Document:
    dashboard, error = readable(entry.name, entry)
    fault = entry.fault or (Fault(error.path, error.reason, error.line, error.source) if error else None)
    return Document(dashboard, error, fault, cost(dashboard) if dashboard else None)
