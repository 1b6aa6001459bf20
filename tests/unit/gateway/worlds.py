"""Dashboards and viewers for tests of the gateway's cores."""

import json
from typing import Any

from services.contract import live
from services.contract.dashboards import Dashboard, parse
from services.contract.live import Delta, ServerMessage, Since, Snapshot
from tests.unit.gateway.merge import Table

EVERY = 1_000


def document(*panels: dict[str, Any], name: str = "host", window: str = "1m") -> dict[str, Any]:
    return {
        "apiVersion": "tideboard.dev/v1alpha1",
        "kind": "Dashboard",
        "metadata": {"name": name},
        "spec": {"title": name.title(), "window": window, "panels": list(panels)},
    }


def panel(name: str, metric: str, fn: str | list[str] = "avg", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "timeseries", "query": {"metric": metric, "by": ["cpu"], "fn": fn, "every": "1s"}, **more}


def dashboard(*panels: dict[str, Any], name: str = "host", window: str = "1m") -> Dashboard:
    return parse(document(*panels, name=name, window=window))


class Client:
    """Keeps the client's rules of docs/protocol.md, on messages that went through JSON."""

    def __init__(self) -> None:
        self.epoch = ""
        self.names: list[str] = []
        self.versions: dict[str, int] = {}
        self.closed: dict[str, int] = {}
        self.groups: dict[str, set[int]] = {}
        self.tables: dict[str, Table] = {}
        self.snapshots = 0

    def hear(self, message: ServerMessage) -> None:
        message = live.decode_server(live.encode(message))
        if isinstance(message, Snapshot):
            self.snapshots += 1
            self.epoch, self.versions = message.epoch, dict(message.versions)
            self.names = [view.id for view in message.views]
            self.closed = {view.id: view.closed for view in message.views}
            self.groups = {view.id: {group.number for group in view.groups} for view in message.views}
            self.tables = {view.id: {} for view in message.views}
            for view in message.views:
                self._take(view.id, view.cells)
        elif isinstance(message, Delta) and message.epoch == self.epoch:
            for part in message.views:
                name = self.names[part.view]
                assert part.from_ <= self.versions[name], "a hole"
                self.versions[name], self.closed[name] = part.to, part.closed
                self.groups[name] |= {group.number for group in part.groups}
                self._take(name, part.cells)

    @property
    def since(self) -> Since:
        return Since(self.epoch, dict(self.versions))

    def _take(self, name: str, cells: list[Any]) -> None:
        for item in cells:
            assert set(item.groups) <= self.groups[name], "labels were not sent"
            self.tables[name].setdefault(item.start, {}).update(zip(item.groups, item.values, strict=True))


def payload(frame: bytes) -> Any:
    """The JSON in one text frame of a server."""
    assert frame[0] == 0x81
    size = frame[1]
    return json.loads(frame[2 if size < 126 else 4 if size == 126 else 10 :])
