"""Readings: what was read from the machine at one moment, and the samples that follow from two of them. Pure.

Reading the machine is the business of `machine`. Times are epoch ms; ratios are 0 to 1 of one core.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

MODES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IDLE: Final = ("idle", "iowait")


class Sample(NamedTuple):
    """One value of a series; `labels` without the host."""

    metric: str
    labels: Mapping[str, str]
    value: float
    kind: str = "gauge"


class Disk(NamedTuple):
    """Counters of a device since it is there."""

    reads: int
    writes: int
    read_bytes: int
    written_bytes: int


class Network(NamedTuple):
    """Counters of a device since it is there."""

    received_bytes: int
    sent_bytes: int
    received_packets: int
    sent_packets: int
    errors: int


class Process(NamedTuple):
    """cpu_s: seconds of CPU since it began. Two with the same pid are the same process if `began` is equal."""

    pid: int
    began: float
    name: str
    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Reading:
    """cpus: seconds by mode, per core. memory, swap, filesystems: bytes by state."""

    at_ms: int
    cpus: tuple[Mapping[str, float], ...] = ()
    load: tuple[float, float, float] = (0.0, 0.0, 0.0)
    memory: Mapping[str, int] = field(default_factory=dict)
    swap: Mapping[str, int] = field(default_factory=dict)
    disks: Mapping[str, Disk] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    uptime_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scan:
    """All processes at one moment. clock_s: of a clock that only goes forward."""

    at_ms: int
    clock_s: float
    processes: tuple[Process, ...]


def machine_samples(before: Reading | None, now: Reading) -> Iterator[Sample]:
    """Everything but processes and file systems. Ratios need a reading before."""
    if before and len(before.cpus) == len(now.cpus):
        for core, (then, cpu) in enumerate(zip(before.cpus, now.cpus, strict=True)):
            yield from _cpu(str(core), then, cpu)
    for minutes, value in zip(("1", "5", "15"), now.load, strict=True):
        yield Sample("host_load", {"minutes": minutes}, value)
    for state, size in now.memory.items():
        yield Sample("host_memory_bytes", {"state": state}, size)
    if now.memory.get("total"):
        used = 1 - now.memory["available"] / now.memory["total"]
        yield Sample("host_memory_used_ratio", {}, used)
    for state, size in now.swap.items():
        yield Sample("host_swap_bytes", {"state": state}, size)
    for device, disk in now.disks.items():
        labels = {"device": device}
        yield Sample("host_disk_read_bytes", labels, disk.read_bytes, "counter")
        yield Sample("host_disk_written_bytes", labels, disk.written_bytes, "counter")
        yield Sample("host_disk_reads", labels, disk.reads, "counter")
        yield Sample("host_disk_writes", labels, disk.writes, "counter")
    for device, network in now.networks.items():
        labels = {"device": device}
        for name, value in network._asdict().items():
            yield Sample(f"host_network_{name}", labels, value, "counter")
    yield Sample("host_uptime_seconds", {}, now.uptime_s)


def filesystem_samples(filesystems: Mapping[str, Mapping[str, int]]) -> Iterator[Sample]:
    """filesystems: bytes by state, by mount."""
    for mount, states in filesystems.items():
        for state, size in states.items():
            yield Sample("host_filesystem_bytes", {"mount": mount, "state": state}, size)


def process_samples(before: Scan | None, now: Scan, top: int) -> Iterator[Sample]:
    """How many there are, and the busiest by CPU and by memory: `top` of each. CPU needs a scan before."""
    yield Sample("host_processes", {}, len(now.processes))
    for process in sorted(now.processes, key=lambda one: (-one.memory_bytes, one.pid))[:top]:
        yield Sample("host_process_memory_bytes", _who(process), process.memory_bytes)
    if before is None or now.clock_s <= before.clock_s:
        return
    elapsed = now.clock_s - before.clock_s
    then = {(process.pid, process.began): process.cpu_s for process in before.processes}
    # One that began since then has used all its time since then.
    busy = {process: (process.cpu_s - then.get((process.pid, process.began), 0.0)) / elapsed for process in now.processes}
    for process in sorted(busy, key=lambda one: (-busy[one], -one.memory_bytes, one.pid))[:top]:
        yield Sample("host_process_cpu_ratio", _who(process), max(busy[process], 0.0))


def encode(samples: Iterable[Sample], at_ms: int, common: Mapping[str, str]) -> tuple[int, bytes]:
    """How many, and their NDJSON. common: labels of all of them, under those that a sample has itself."""
    lines = [
        orjson.dumps(_document(sample, at_ms, common), option=orjson.OPT_APPEND_NEWLINE)
        for sample in samples
    ]  # fmt: skip
    return len(lines), b"".join(lines)


def _document(sample: Sample, at_ms: int, common: Mapping[str, str]) -> dict[str, Any]:
    labels = {**common, **sample.labels}
    return {"metric": sample.metric, "labels": labels, "value": sample.value, "time": at_ms, "kind": sample.kind}


def _cpu(core: str, then: Mapping[str, float], now: Mapping[str, float]) -> Iterator[Sample]:
    """Shares of the time since `then`. The kernel's count of idle time sometimes steps back a little; that is no time."""
    spent = {mode: max(now[mode] - then[mode], 0.0) for mode in MODES if mode in now and mode in then}
    if (total := sum(spent.values())) <= 0:
        return
    for mode, seconds in spent.items():
        yield Sample("host_cpu_ratio", {"cpu": core, "mode": mode}, seconds / total)
    yield Sample("host_cpu_busy_ratio", {"cpu": core}, 1 - sum(spent.get(mode, 0.0) for mode in _IDLE) / total)


def _who(process: Process) -> dict[str, str]:
    return {"process": process.name, "pid": str(process.pid)}
