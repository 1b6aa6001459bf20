"""What the registry in Redis holds: one entry per dashboard and per source, as JSON with a version."""

from typing import Any, Final

import msgspec

from services.contract.dashboards import Dashboard, DashboardError, parse

VERSION: Final = 1


class Fault(msgspec.Struct, frozen=True):
    """Why the newest document was refused. path: as in DashboardError; line: 1 is the first, 0 not known; source: the file or resource."""

    path: str
    reason: str
    line: int = 0
    source: str = ""


class Entry(msgspec.Struct, frozen=True):
    """A dashboard or a source as its owner last wrote it.

    document: the last good document, as an author writes it; None when there never was one.
    revision: a hash of the document. fault: what is wrong with the newest one, None when it is the document.
    """

    version: int
    name: str
    revision: str
    document: dict[str, Any] | None
    source: str
    fault: Fault | None = None

    def dashboard(self) -> Dashboard | None:
        """The dashboard, or None where there is none that this version of the software can read."""
        if self.document is None:
            return None
        try:
            return parse(self.document)
        except DashboardError:
            return None


def encode_entry(entry: Entry) -> bytes:
    return msgspec.json.encode(entry)


def decode_entry(data: bytes) -> Entry:
    """The entry; msgspec.ValidationError where it is not one."""
    return msgspec.json.decode(data, type=Entry)
