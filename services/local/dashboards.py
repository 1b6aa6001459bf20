"""The folder of dashboards and sources: watches its files and keeps the registry as they say. What they say is `foldercontent`'s to tell."""

import asyncio
import time
from pathlib import Path
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis

from services.contract.claims import Kind
from services.contract.cost import cost
from services.contract.registry import Entry
from services.local.foldercontent import entries
from services.transport.feed import FeedErrors
from services.transport.registry import DASHBOARD_SHELF, SOURCE_SHELF, Shelf, keep, read_all

log = structlog.get_logger()

LOOK_S: Final = 0.25
_CHECK_S: Final = 1.0
_BROKEN: Final = {"Dashboard": "a dashboard is broken", "Source": "a source is broken"}
_MENDED: Final = {"Dashboard": "a dashboard is in order again", "Source": "a source is in order again"}
_SUFFIXES: Final = (".yaml", ".yml")
Stamps = dict[Path, tuple[int, int]]


class _Kept:
    """The entries of one kind: wanted by the files, written to the registry."""

    def __init__(self, kind: Kind, shelf: Shelf) -> None:
        self.kind = kind
        self.shelf = shelf
        self.wanted: dict[str, Entry] = {}
        self.written: dict[str, Entry] = {}

    def faults(self) -> list[dict[str, object]]:
        found = [(name, entry.fault) for name, entry in self.wanted.items() if entry.fault]
        return [
            {"kind": self.kind, "name": name, "source": it.source, "line": it.line, "path": it.path, "reason": it.reason}
            for name, it in found
        ]

    async def write(self, redis: Redis) -> None:
        await keep(redis, self.wanted, self.written, self.shelf)


class Folder:
    """Owns the entries whose source lies in its folder, and leaves all others alone."""

    def __init__(self, folder: Path, redis: Redis) -> None:
        self._folder = folder
        self._redis = redis
        self._seen: Stamps | None = None
        self._stamps: Stamps | None = None  # of what is in _wanted
        self._dashboards = _Kept("Dashboard", DASHBOARD_SHELF)
        self._sources = _Kept("Source", SOURCE_SHELF)
        self._kept = (self._dashboards, self._sources)
        self._known = False  # what the registry holds
        self._away = ""
        self._checked = 0.0

    async def run(self) -> None:
        """Until cancelled. A registry that is away is written when it is back."""
        while True:
            try:
                await self._look()
                self._away = ""
            except FeedErrors as error:
                self._away = str(error) or type(error).__name__
                self._known = False
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        await self._redis.aclose()

    def status(self) -> dict[str, object]:
        return {
            "folder": str(self._folder),
            "names": sorted(self._dashboards.wanted),
            "sources": sorted(self._sources.wanted),
            "registry": self._away or "written",
            "memory": {
                name: msgspec.to_builtins(cost(dashboard))
                for name, entry in sorted(self._dashboards.wanted.items())
                if (dashboard := entry.dashboard()) is not None
            },
            "faults": [fault for kept in self._kept for fault in kept.faults()],
        }

    async def _look(self) -> None:
        if not self._known or await self._lost():
            for kept in self._kept:
                kept.written = await self._owned(kept.shelf)
                kept.wanted = {**kept.written, **kept.wanted}  # with the last good documents of a run before this one
            self._stamps = None
            self._known = True
        stamps = self._stat()
        settled, self._seen = stamps == self._seen, stamps
        if stamps != self._stamps and (settled or self._stamps is None):  # an editor may be in the middle of it
            texts = self._read(stamps)
            for kept in self._kept:
                before, kept.wanted = kept.wanted, entries(texts, kept.wanted, kept.kind)
                _tell(kept, before)
            self._stamps = stamps
        for kept in self._kept:
            await kept.write(self._redis)

    async def _lost(self) -> bool:
        """Whether the registry has been emptied behind our back, as when Valkey starts anew."""
        if time.monotonic() - self._checked < _CHECK_S:
            return False
        self._checked = time.monotonic()
        for kept in self._kept:
            if kept.written and not await self._redis.exists(kept.shelf.revision):
                return True
        return False

    async def _owned(self, shelf: Shelf) -> dict[str, Entry]:
        prefix = f"{self._folder.name}/"
        there = await read_all(self._redis, shelf)
        return {name: entry for name, entry in there.items() if entry.source.startswith(prefix)}

    def _stat(self) -> Stamps:
        """Every file with what changes when it is saved. A folder that is missing holds none."""
        found: Stamps = {}
        for path in sorted(self._folder.glob("*")):
            if path.suffix in _SUFFIXES and not path.name.startswith("."):
                try:
                    stat = path.stat()
                except OSError:  # gone since it was listed
                    continue
                found[path] = stat.st_mtime_ns, stat.st_size
        return found

    def _read(self, stamps: Stamps) -> dict[str, str]:
        texts = {}
        for path in stamps:
            try:
                texts[f"{self._folder.name}/{path.name}"] = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
        return texts


def _tell(kept: _Kept, before: dict[str, Entry]) -> None:
    for name, entry in kept.wanted.items():
        known = before.get(name)
        if entry.fault and (known is None or known.fault != entry.fault):
            fault = entry.fault
            in_force = "the last good version" if entry.document else "nothing"
            where = f"{fault.source}:{fault.line}"
            log.error(_BROKEN[kept.kind], name=name, where=where, path=fault.path, reason=fault.reason, in_force=in_force)
        elif known is not None and known.fault and not entry.fault:
            log.warning(_MENDED[kept.kind], name=name, source=entry.source)
