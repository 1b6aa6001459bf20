"""Settings of the aggregator."""

from dataclasses import dataclass

from services.runtime.settings import setting


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    """How often, and for whom, the aggregator commits."""

    instance: str = setting(
        "",
        "TIDEBOARD_AGGREGATOR_INSTANCE",
        "Name of this aggregator among the others, the same after a restart; the host's name by default.",
    )
    tick_ms: int = setting(
        50, "TIDEBOARD_AGGREGATOR_TICK_MS", "Longest time between commits while somebody watches.", "ms", between=(5, 1_000)
    )
    idle_tick_ms: int = setting(
        2_000,
        "TIDEBOARD_AGGREGATOR_IDLE_TICK_MS",
        "Longest time between commits while nobody watches.",
        "ms",
        between=(50, 10_000),
    )
    disorder_ms: int = setting(
        250,
        "TIDEBOARD_AGGREGATOR_DISORDER_MS",
        "How much later than a newer one a sample may arrive before its bucket counts as closed. It is counted later too, as a correction.",
        "ms",
        between=(0, 600_000),
    )
    idle_ms: int = setting(
        1_000,
        "TIDEBOARD_AGGREGATOR_IDLE_MS",
        "After how long without a sample a partition that is caught up no longer holds buckets open.",
        "ms",
    )
    lease_ms: int = setting(
        3_000, "TIDEBOARD_AGGREGATOR_LEASE_MS", "After how long without a word an aggregator's partitions go to others.", "ms"
    )
    memory_budget_mb: int = setting(
        0,
        "TIDEBOARD_AGGREGATOR_MEMORY_BUDGET_MB",
        "How much memory Redis may use, each server of a Cluster for itself, where its own maxmemory is not set or is more. 0: only maxmemory counts, if it is set",
        "MiB",
    )
    outage_ms: int = setting(
        1_800_000,
        "TIDEBOARD_AGGREGATOR_OUTAGE_MS",
        "How long aggregators or Redis may be away without a hole. The topic's retention must hold this beside what dashboards show",
        "ms",
        between=(0, 366 * 86_400_000),
    )
