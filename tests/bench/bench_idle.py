"""What `make run` costs while nobody watches: CPU and memory of everything that it starts, the collector included."""

import time

import psutil

from tests.bench.report import Table
from tests.stack import ROOT, running

SETTLE_S = 30.0
WINDOW_S = 60.0


def measure() -> Table:
    with running(ROOT / "dashboards") as stack:
        time.sleep(SETTLE_S)
        found = {"all": psutil.Process(stack.pid)}
        found |= {name: psutil.Process(child["pid"]) for name, child in stack.children().items()}
        before = {name: _cpu(process) for name, process in found.items()}
        began = time.monotonic()
        time.sleep(WINDOW_S)
        passed = time.monotonic() - began
        shares = {name: (_cpu(process) - before[name]) / passed for name, process in found.items()}
        memory = {name: process.memory_full_info().pss / 2**20 for name, process in found.items()}
    rows = [[name, f"{shares[name]:.1%}", f"{memory[name]:.0f} MiB"] for name in found]
    rows.append(["**together**", f"**{sum(shares.values()):.1%}**", f"**{sum(memory.values()):.0f} MiB**"])
    text = (
        f"The dashboards that ship, no viewer; CPU of one core over {WINDOW_S:.0f} s after {SETTLE_S:.0f} s of settling;"
        " memory is the proportional set size, in which shared pages count once. The collector reads this machine four times a second,"
        " and the metrics of all services every two seconds."
    )
    return Table("Idle cost of `make run`", text, ["process", "CPU of one core", "memory"], rows)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
