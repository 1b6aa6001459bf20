"""Machine: reads this one with psutil. What follows from what was read is in `readings`."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from services.collector.readings import MODES, Disk, Network, Process, Reading, Scan

_NO_DISKS: Final = ("loop", "ram", "zram")
_MEMORY: Final = ("used", "available", "cached", "buffers", "free", "total")
_PROC: Final = Path("/proc")
_NAME_CHARACTERS: Final = 64


class Machine:
    """Everything here takes well under a millisecond, but for `processes`."""

    def __init__(self) -> None:
        self._booted = psutil.boot_time()
        self._whole_disks: dict[str, bool] = {}
        self._loopbacks: frozenset[str] = frozenset()
        self._has_proc = (_PROC / "self" / "stat").exists()
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> Reading:
        """All but processes and file systems."""
        now = time.time()
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return Reading(
            at_ms=int(now * 1000),
            cpus=tuple({mode: getattr(cpu, mode) for mode in MODES if hasattr(cpu, mode)} for cpu in psutil.cpu_times(percpu=True)),
            load=os.getloadavg(),
            memory={state: getattr(memory, state) for state in _MEMORY if hasattr(memory, state)},
            swap={"used": swap.used, "free": swap.free, "total": swap.total},
            disks=self._disks(),
            networks=self._networks(),
            uptime_s=now - self._booted,
        )  # fmt: skip

    def filesystems(self) -> Mapping[str, Mapping[str, int]]:
        """Bytes by state, by mount, each device once. May block where a device does."""
        mounts = {"/": "/"}
        for part in psutil.disk_partitions(all=False):
            known = next((mount for mount, device in mounts.items() if device == part.device), None)
            if part.mountpoint == "/" or known is None:
                mounts[part.mountpoint] = part.device
        found = {}
        for mount in mounts:
            try:
                usage = psutil.disk_usage(mount)
            except OSError:
                continue
            found[mount] = {"used": usage.used, "free": usage.free, "total": usage.total}
        return found

    def processes(self) -> Scan:
        """All processes. Reads /proc itself where there is one: eight times as cheap as psutil, which opens three files each."""
        found = self._from_proc() if self._has_proc else _from_psutil()
        return Scan(int(time.time() * 1000), time.monotonic(), tuple(found))

    def _disks(self) -> dict[str, Disk]:
        counters = psutil.disk_io_counters(perdisk=True) or {}
        return {
            name: Disk(disk.read_count, disk.write_count, disk.read_bytes, disk.write_bytes)
            for name, disk in counters.items()
            if self._is_whole(name)
        }

    def _is_whole(self, name: str) -> bool:
        """Partitions would count their disk's bytes twice; loop and memory devices are no disks."""
        if name not in self._whole_disks:
            blocks = Path("/sys/block")
            whole = not blocks.exists() or (blocks / name.replace("/", "!")).exists()
            self._whole_disks[name] = whole and not name.startswith(_NO_DISKS)
        return self._whole_disks[name]

    def _networks(self) -> dict[str, Network]:
        """Every device but the loopback, over which nothing comes from elsewhere."""
        return {
            name: Network(net.bytes_recv, net.bytes_sent, net.packets_recv, net.packets_sent, net.errin + net.errout)
            for name, net in psutil.net_io_counters(pernic=True).items()
            if name not in ("lo", "lo0")
        }

    def _from_proc(self) -> list[Process]:
        found = []
        for entry in os.listdir(_PROC):  # noqa: PTH208, a Path for each of some hundred processes costs more than reading them
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat", "rb", buffering=0) as file:  # noqa: PTH123
                        found.append(self._parse(int(entry), file.read(4096)))
                except (OSError, ValueError, IndexError):
                    continue  # it ended meanwhile
        return found

    def _parse(self, pid: int, stat: bytes) -> Process:
        """proc(5): pid (name) state ppid ...; the name may hold anything, so the last ')' ends it."""
        end = stat.rindex(b")")
        name = stat[stat.index(b"(") + 1 : end].decode("utf-8", "replace")
        fields = stat[end + 2 :].split(b" ", 22)
        cpu = (int(fields[11]) + int(fields[12])) * self._tick_s
        return Process(pid, float(fields[19]), name[:_NAME_CHARACTERS], cpu, int(fields[21]) * self._page_bytes)


def _from_psutil() -> list[Process]:
    found = []
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                cpu, memory = process.cpu_times(), process.memory_info()
                name = process.name()[:_NAME_CHARACTERS]
                found.append(Process(process.pid, process.create_time(), name, cpu.user + cpu.system, memory.rss))
        except psutil.Error:
            continue
    return found
