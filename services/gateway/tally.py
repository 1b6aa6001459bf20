"""A histogram into which many equal values are counted at once, as prometheus_client's own takes one at a time.

A frame that is written to thousands of viewers is as old for all of them.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import inf

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Tally(Collector):
    """buckets: their upper bounds, ascending; one for everything above them is added."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float], registry: CollectorRegistry = REGISTRY) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = [*map(float, buckets)]
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, amount: float, times: int = 1) -> None:
        """So many values of this amount."""
        self._counts[bisect_left(self._bounds, amount)] += times
        self._sum += amount * times

    def describe(self) -> Iterator[Metric]:
        """The name alone: the registry asks for it before there are values."""
        yield HistogramMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[Metric]:
        """As it is now, cumulative as Prometheus wants it."""
        below, buckets = 0, []
        for bound, count in zip([*self._bounds, inf], self._counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound == inf else repr(bound), float(below)))
        family = HistogramMetricFamily(self._name, self._documentation)
        family.add_metric([], buckets, self._sum)
        yield family
