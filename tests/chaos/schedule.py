"""Which faults a run does, drawn from its seed. Pure.

Faults come in lanes that run side by side: of our own processes, and of the servers. Each of the two deals its kinds like a deck of cards, so that
every kind comes before one comes again. Runs 2k-1 and 2k (by `ordinal`) share a shuffle and deal it from opposite ends: even if
runs are so short that only half of a deck is dealt, two neighbours together do every kind. A third lane does what some runs do once: it takes long, or
cannot be undone.
"""

import random
from collections.abc import Iterator
from typing import Final, Literal

Broker = Literal["kafka", "embedded"]

PROCESS_FAULTS: Final = (
    "aggregator_kill", "aggregator_sleep", "aggregator_restart", "scale_up", "scale_down", "ingestor_kill", "dashboard_change",
)  # fmt: skip
FEED_FAULTS: Final = ("feed_kill", "feed_kill_empty", "feed_failover", "feed_flush", "feed_slow", "feed_silent")
LOG_FAULTS: Final = ("log_kill",)
SLEEPER: Final = "yesterdays_dashboards"
LONG_AWAY: Final = "log_away"
GROWTH: Final = "log_grown"
ONCE: Final = (GROWTH, LONG_AWAY)

TITLES: Final = {
    "aggregator_kill": "aggregator SIGKILL",
    "aggregator_sleep": "aggregator SIGSTOP beyond its lease",
    "aggregator_restart": "aggregator planned restart",
    "scale_up": "scale up",
    "scale_down": "scale down",
    "ingestor_kill": "ingestor SIGKILL",
    "dashboard_change": "dashboard changed",
    "feed_kill": "Valkey SIGKILL, its AOF kept",
    "feed_kill_empty": "Valkey SIGKILL, its data lost",
    "feed_failover": "failover to a replica behind",
    "feed_flush": "FLUSHALL",
    "feed_slow": "Valkey slow",
    "feed_silent": "Valkey silent",
    "log_kill": "Kafka SIGKILL and away",
    LONG_AWAY: "Kafka SIGKILL and 60 s away",
    GROWTH: "more partitions",
    "log_lost": "embedded broker SIGKILL, its data lost",
    "log_silent": "embedded broker SIGSTOP",
    SLEEPER: "sleeper with yesterday's dashboards",
}


def process_faults(broker: Broker, seed: int) -> tuple[str, ...]:
    """What may happen to our own processes. A log that is gone cannot fill a new dashboard."""
    return tuple(kind for kind in PROCESS_FAULTS if not (kind == "dashboard_change" and forgets(broker, seed)))


def server_faults(broker: Broker, seed: int) -> tuple[str, ...]:
    """What may happen to the servers. The embedded broker keeps nothing over a kill: then the feed must not lose what only it still has."""
    if broker == "kafka":
        return (*FEED_FAULTS, *LOG_FAULTS, SLEEPER)
    if forgets(broker, seed):
        return ("log_lost", "feed_kill", "feed_slow", "feed_silent")
    return (*FEED_FAULTS, "log_silent", SLEEPER)


def once(broker: Broker, seed: int) -> tuple[str, ...]:
    """What this run does once, in this order: partitions are added in every other run, and the log is away for long in every fifth."""
    due = {GROWTH: seed % 2 == 0, LONG_AWAY: seed % 5 == 3}
    return tuple(kind for kind in ONCE if due[kind]) if broker == "kafka" else ()


def forgets(broker: Broker, seed: int) -> bool:
    """Whether the broker is killed in this run, and loses its log."""
    return broker == "embedded" and seed % 2 == 1


def possible(broker: Broker, seed: int) -> tuple[str, ...]:
    return (*process_faults(broker, seed), *server_faults(broker, seed), *once(broker, seed))


def ordinal(broker: Broker, seed: int) -> int:
    """The number of this run among those that may do the same: on the embedded broker these are every other one."""
    return seed if broker == "kafka" else (seed + 1) // 2


def deal(kinds: tuple[str, ...], number: int) -> Iterator[str]:
    """Kinds without end, deck by deck. number: `ordinal`."""
    chance = random.Random(f"{(number + 1) // 2}:{kinds}")
    while True:
        deck = list(kinds)
        chance.shuffle(deck)
        yield from reversed(deck) if number % 2 else deck


def least(broker: Broker, seeds: list[int]) -> dict[str, int]:
    """How often each kind must have been done over these seeds, or they prove less than they say: once for every two runs that may do it.

    What a run does once, every run must have done that was to do it.
    """
    runs: dict[str, int] = {}
    for seed in seeds:
        for kind in possible(broker, seed):
            runs[kind] = runs.get(kind, 0) + 1
    return {kind: count if kind in ONCE else count // 2 for kind, count in runs.items()}
