"""Reading this very machine: plausible, and equal to what psutil says."""

import os
import time

import psutil
import pytest

from services.collector import machine as module
from services.collector.machine import Machine
from services.collector.readings import Scan, machine_samples


def test_a_reading_has_every_core_and_agrees_with_psutil() -> None:
    reading = Machine().read()
    assert len(reading.cpus) == psutil.cpu_count()
    assert reading.memory["total"] == psutil.virtual_memory().total
    assert 0 < reading.memory["available"] <= reading.memory["total"]
    assert abs(reading.at_ms - time.time() * 1000) < 60_000
    assert reading.uptime_s > 0
    assert not {"lo"} & set(reading.networks)
    assert not [name for name in reading.disks if name.startswith(("loop", "ram"))]


def test_two_readings_give_shares_that_add_up() -> None:
    machine = Machine()
    before = machine.read()
    until = time.process_time() + 0.05  # at least some ticks of the kernel's clock
    while time.process_time() < until:
        pass
    found = list(machine_samples(before, machine.read()))
    shares = [sample.value for sample in found if sample.metric == "host_cpu_ratio" and sample.labels["cpu"] == "0"]
    assert all(0 <= share <= 1 for share in shares)
    assert not shares or abs(sum(shares) - 1) < 1e-9


def test_the_root_file_system_is_there() -> None:
    found = Machine().filesystems()
    assert found["/"]["total"] == psutil.disk_usage("/").total
    assert found["/"]["used"] <= found["/"]["total"]


def own(scan: Scan) -> tuple[str, float, int]:
    (process,) = (process for process in scan.processes if process.pid == os.getpid())
    return process.name, process.cpu_s, process.memory_bytes


def test_processes_are_read_as_psutil_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    name, cpu_s, memory = own(Machine().processes())
    monkeypatch.setattr(Machine, "_from_proc", lambda _: module._from_psutil())
    other_name, other_cpu_s, other_memory = own(Machine().processes())
    assert other_name.startswith(name)  # the kernel keeps 15 characters, psutil may know more
    tick = 1 / os.sysconf("SC_CLK_TCK")  # the two divide ticks in another order: 71.76 is 71.75999999999999
    assert cpu_s - tick / 2 <= other_cpu_s <= cpu_s + 5
    assert memory == pytest.approx(other_memory, rel=0.2)


@pytest.mark.parametrize(
    ("stat", "name"),
    [
        (b"7 (cat) S 1" + b" 0" * 9 + b" 250 50 0 0 20 0 1 0 4242 999 3 0", "cat"),
        (b"7 (a) b (c) S 1" + b" 0" * 9 + b" 250 50 0 0 20 0 1 0 4242 999 3 0", "a) b (c"),
        (b"7 (\xff) S 1" + b" 0" * 9 + b" 250 50 0 0 20 0 1 0 4242 999 3 0", "\ufffd"),
    ],
)
def test_a_process_may_be_called_anything(stat: bytes, name: str) -> None:
    process = Machine()._parse(7, stat)
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert (process.name, process.began, process.cpu_s, process.memory_bytes) == (name, 4242.0, 300 / ticks, 3 * page)
