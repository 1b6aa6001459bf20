"""What the supervisor counts, read when somebody asks."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import psutil
from prometheus_client import Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.local.supervision import Child

REPLACEMENTS: Final = Counter(
    "tideboard_local_broker_replacements_total", "Times that the embedded broker grew too large and was replaced."
)
_PREFIX: Final = "tideboard_local_child"
_BY: Final = ("child",)


class ChildMetrics(Collector):
    """Of every child: is it up, how often was it started again, what does it use."""

    def __init__(self, children: Callable[[], Iterable[Child]]) -> None:
        self._children = children

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(f"{_PREFIX}_up_ratio", "1 while the child does its work, else 0.", labels=_BY)
        restarts = CounterMetricFamily(f"{_PREFIX}_restarts", "How often the child was started again.", labels=_BY)
        cpu = CounterMetricFamily(f"{_PREFIX}_cpu_seconds", "CPU time of the child that runs now.", labels=_BY)
        memory = GaugeMetricFamily(f"{_PREFIX}_memory_bytes", "Resident memory of the child.", labels=_BY)
        for child in self._children():
            up.add_metric([child.name], child.state == "up")
            restarts.add_metric([child.name], child.restarts)
            if (used := _usage(child.pid)) is not None:
                cpu.add_metric([child.name], used[0])
                memory.add_metric([child.name], used[1])
        yield from (up, restarts, cpu, memory)


def _usage(pid: int | None) -> tuple[float, int] | None:
    """Seconds of CPU and bytes of memory of a process; None where there is none."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss
    except psutil.Error:
        return None
