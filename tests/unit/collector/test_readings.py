"""From two readings to samples: names, labels, kinds and what the numbers mean."""

import json
from collections.abc import Iterable

import pytest

from services.collector.readings import (
    Disk,
    Network,
    Process,
    Reading,
    Sample,
    Scan,
    encode,
    filesystem_samples,
    machine_samples,
    process_samples,
)


def by_series(samples: Iterable[Sample]) -> dict[tuple[str, ...], float]:
    return {(sample.metric, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}


def cpu(**seconds: float) -> dict[str, float]:
    return {"user": 0.0, "system": 0.0, "idle": 0.0, "iowait": 0.0} | seconds


def test_shares_of_a_core_are_those_of_the_time_between_two_readings() -> None:
    before = Reading(0, cpus=(cpu(user=100, idle=900), cpu(idle=50)))
    now = Reading(250, cpus=(cpu(user=101, system=1, idle=901, iowait=1), cpu(idle=54)))
    found = by_series(machine_samples(before, now))
    assert found["host_cpu_ratio", "0", "user"] == 0.25
    assert found["host_cpu_ratio", "0", "idle"] == 0.25
    assert found["host_cpu_busy_ratio", "0"] == 0.5
    assert found["host_cpu_busy_ratio", "1"] == 0.0
    assert found["host_cpu_ratio", "1", "idle"] == 1.0


def test_idle_time_that_steps_back_is_no_time() -> None:
    before = Reading(0, cpus=(cpu(user=10, idle=20, iowait=9),))
    now = Reading(250, cpus=(cpu(user=11, idle=21, iowait=8.5),))
    found = by_series(machine_samples(before, now))
    assert found["host_cpu_ratio", "0", "iowait"] == 0.0
    assert found["host_cpu_busy_ratio", "0"] == 0.5


@pytest.mark.parametrize("before", [None, Reading(0, cpus=(cpu(), cpu())), Reading(0, cpus=(cpu(user=1),))])
def test_without_a_comparable_reading_before_there_are_no_shares(before: Reading | None) -> None:
    found = by_series(machine_samples(before, Reading(250, cpus=(cpu(user=1),))))
    assert not [series for series in found if series[0].startswith("host_cpu")]


def test_everything_that_is_read_has_its_series() -> None:
    reading = Reading(
        at_ms=1000,
        load=(0.5, 0.25, 0.125),
        memory={"used": 30, "available": 60, "total": 100},
        swap={"used": 1, "free": 2},
        disks={"vda": Disk(reads=1, writes=2, read_bytes=3, written_bytes=4)},
        networks={"eth0": Network(received_bytes=5, sent_bytes=6, received_packets=7, sent_packets=8, errors=9)},
        uptime_s=77.0,
    )
    samples = list(machine_samples(None, reading))
    assert by_series(samples) == {
        ("host_load", "1"): 0.5,
        ("host_load", "5"): 0.25,
        ("host_load", "15"): 0.125,
        ("host_memory_bytes", "used"): 30,
        ("host_memory_bytes", "available"): 60,
        ("host_memory_bytes", "total"): 100,
        ("host_memory_used_ratio",): 0.4,
        ("host_swap_bytes", "used"): 1,
        ("host_swap_bytes", "free"): 2,
        ("host_disk_reads", "vda"): 1,
        ("host_disk_writes", "vda"): 2,
        ("host_disk_read_bytes", "vda"): 3,
        ("host_disk_written_bytes", "vda"): 4,
        ("host_network_received_bytes", "eth0"): 5,
        ("host_network_sent_bytes", "eth0"): 6,
        ("host_network_received_packets", "eth0"): 7,
        ("host_network_sent_packets", "eth0"): 8,
        ("host_network_errors", "eth0"): 9,
        ("host_uptime_seconds",): 77.0,
    }
    counters = {sample.metric for sample in samples if sample.kind == "counter"}
    assert counters == {sample.metric for sample in samples if sample.metric.startswith(("host_disk", "host_network"))}


def test_file_systems_are_named_by_their_mount() -> None:
    found = by_series(filesystem_samples({"/": {"used": 1, "free": 2, "total": 3}}))
    assert found == {("host_filesystem_bytes", "/", state): size for state, size in (("used", 1), ("free", 2), ("total", 3))}


def scan(clock_s: float, *processes: Process) -> Scan:
    return Scan(int(clock_s * 1000), clock_s, processes)


def test_the_busiest_processes_are_those_of_the_time_between() -> None:
    before = scan(10, Process(1, 0, "init", 500.0, 100), Process(2, 0, "work", 1.0, 5), Process(3, 0, "idle", 9.0, 7))
    now = scan(12, Process(1, 0, "init", 500.5, 100), Process(2, 0, "work", 5.0, 5), Process(3, 0, "idle", 9.0, 7))
    found = by_series(process_samples(before, now, top=2))
    assert found == {
        ("host_processes",): 3,
        ("host_process_memory_bytes", "1", "init"): 100,
        ("host_process_memory_bytes", "3", "idle"): 7,
        ("host_process_cpu_ratio", "2", "work"): 2.0,
        ("host_process_cpu_ratio", "1", "init"): 0.25,
    }


def test_a_number_that_another_process_got_does_not_count_back() -> None:
    before = scan(10, Process(7, 100.0, "old", 50.0, 1))
    now = scan(11, Process(7, 200.0, "new", 0.25, 1))
    assert by_series(process_samples(before, now, 5))["host_process_cpu_ratio", "7", "new"] == 0.25


def test_the_first_scan_knows_memory_but_no_shares() -> None:
    found = by_series(process_samples(None, scan(10, Process(1, 0, "init", 5.0, 100)), 5))
    assert set(found) == {("host_processes",), ("host_process_memory_bytes", "1", "init")}


def test_samples_are_lines_with_the_labels_that_all_have() -> None:
    count, body = encode([Sample("a", {"x": "1"}, 2), Sample("b", {"host": "own"}, 0.5, "counter")], 1234, {"host": "h"})
    assert count == 2
    assert [json.loads(line) for line in body.splitlines()] == [
        {"metric": "a", "labels": {"host": "h", "x": "1"}, "value": 2, "time": 1234, "kind": "gauge"},
        {"metric": "b", "labels": {"host": "own"}, "value": 0.5, "time": 1234, "kind": "counter"},
    ]
