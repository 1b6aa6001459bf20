"""The folder of dashboards: watches its files and keeps the registry as they say. What they say is `foldercontent`'s to tell."""

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog
from redis.asyncio import Redis

from services.contract.names import DASHBOARDS_REVISION
from services.contract.registry import Entry
from services.local.foldercontent import entries
from services.transport.feed import FeedErrors
from services.transport.registry import delete_entry, read_all, write_entry

log = structlog.get_logger()

LOOK_S: Final = 0.25
_CHECK_S: Final = 1.0
_SUFFIXES: Final = (".yaml", ".yml")
Stamps = dict[Path, tuple[int, int]]


class Folder:
    """Owns the entries whose source lies in its folder, and leaves all others alone."""

    def __init__(self, folder: Path, redis: Redis) -> None:
        self._folder = folder
        self._redis = redis
        self._seen: Stamps | None = None
        self._stamps: Stamps | None = None  # of what is in _wanted
        self._wanted: dict[str, Entry] = {}
        self._written: dict[str, Entry] | None = None  # None: not known what the registry holds
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
                self._written = None
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        await self._redis.aclose()

    def status(self) -> dict[str, object]:
        faults = {name: entry.fault for name, entry in self._wanted.items() if entry.fault}
        return {
            "folder": str(self._folder),
            "names": sorted(self._wanted),
            "registry": self._away or "written",
            "faults": [
                {"name": name, "source": fault.source, "line": fault.line, "path": fault.path, "reason": fault.reason}
                for name, fault in faults.items()
            ],
        }

    async def _look(self) -> None:
        if self._written is None or await self._lost():
            self._written = await self._owned()
            self._wanted = {**self._written, **self._wanted}  # with the last good documents of a run before this one
            self._stamps = None
        stamps = self._stat()
        settled, self._seen = stamps == self._seen, stamps
        if stamps != self._stamps and (settled or self._stamps is None):  # an editor may be in the middle of it
            before, self._wanted = self._wanted, entries(self._read(stamps), self._wanted)
            self._tell(before)
            self._stamps = stamps
        await self._write(self._written)

    async def _lost(self) -> bool:
        """Whether the registry has been emptied behind our back, as when Valkey starts anew."""
        if time.monotonic() - self._checked < _CHECK_S:
            return False
        self._checked = time.monotonic()
        return not await self._redis.exists(DASHBOARDS_REVISION) and bool(self._written)

    async def _owned(self) -> dict[str, Entry]:
        prefix = f"{self._folder.name}/"
        return {name: entry for name, entry in (await read_all(self._redis)).items() if entry.source.startswith(prefix)}

    async def _write(self, written: dict[str, Entry]) -> None:
        changed = [entry for name, entry in self._wanted.items() if written.get(name) != entry]
        if changed:
            await write_entry(self._redis, *changed)
            written |= {entry.name: entry for entry in changed}
        for name in sorted(set(written) - set(self._wanted)):
            await delete_entry(self._redis, name)
            del written[name]

    def _stat(self) -> Stamps:
        """Every dashboard file with what changes when it is saved. A folder that is missing holds none."""
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

    def _tell(self, before: dict[str, Entry]) -> None:
        for name, entry in self._wanted.items():
            known = before.get(name)
            if entry.fault and (known is None or known.fault != entry.fault):
                fault = entry.fault
                shown = "the last good version" if entry.document else "nothing"
                where = f"{fault.source}:{fault.line}"
                log.error(
                    "a dashboard is broken", dashboard=name, where=where, path=fault.path, reason=fault.reason, shown=shown
                )
            elif known is not None and known.fault and not entry.fault:
                log.warning("a dashboard is in order again", dashboard=name, source=entry.source)
