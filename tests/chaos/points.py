"""What the producers of a run say: samples of every kind, out of order, late, repeated and bad, drawn from the seed. Pure."""

import random
from dataclasses import dataclass, field
from typing import Any, Final

Sample = dict[str, Any]

HOSTS: Final = 4
USERS: Final = 60
UNIQUE: Final = "unique"
"""A gauge whose values are serial numbers: by them the run knows whether what was accepted is in the log."""

METRICS: Final = ("load", "state", "bytes", "requests", "added", "latency", "clicks", UNIQUE, "unasked")
WEIGHTS: Final = (30, 20, 16, 10, 10, 12, 14, 6, 2)

BAD: Final[tuple[Sample, ...]] = (
    {"metric": "load", "labels": {"host": "h0"}, "value": "much"},
    {"metric": "0load", "value": 1},
    {"metric": "load", "labels": {"a-b": "c"}, "value": 1},
    {"metric": "load", "value": 1, "kind": "guess"},
    {"metric": "load", "value": 1, "time": 95_617_584_000_000},
    {"metric": "load", "value": None},
    {"value": 3},
)


@dataclass
class Points:
    """One producer's samples. base: its first serial number; told, held: how far its counters are."""

    chance: random.Random
    base: int = 0
    serial: int = 0
    counters: dict[tuple[str, str], float] = field(default_factory=dict)
    begun: dict[str, tuple[int, float]] = field(default_factory=dict)  # since when such a counter counts, and how far it is

    def some(self, now_ms: int, n: int) -> list[Sample]:
        """n good samples."""
        return [self._one(now_ms) for _ in range(n)]

    def body(self, now_ms: int, n: int) -> tuple[list[Sample], int]:
        """Samples of which some are bad, in any order; how many are good."""
        bad = [self.chance.choice(BAD) for _ in range(self.chance.choice((0, 0, 0, 1, 3)))]
        mixed = [*self.some(now_ms, n), *bad]
        self.chance.shuffle(mixed)
        return mixed, n

    def _one(self, now_ms: int) -> Sample:
        chance = self.chance
        host = f"h{chance.randrange(HOSTS)}"
        match chance.choices(METRICS, WEIGHTS)[0]:
            case "load":
                labels = {"host": host, "core": str(chance.randrange(4))}
                return _sample("load", labels, chance.uniform(-5, 5), self._at(now_ms), "gauge")
            case "state":  # few values, so that what is said again is often what was said before
                labels = {"door": f"d{chance.randrange(6)}"}
                return _sample("state", labels, chance.randrange(2), self._at(now_ms), "gauge")
            case "bytes":
                code = chance.choice(("200", "404", "503"))
                return _sample("bytes", {"host": host, "code": code}, self._count(host, code), self._at(now_ms), "counter")
            case "added":
                return _sample("added", {"host": host}, chance.choice((1, 2, 0.1, 7.25)), self._at(now_ms), "delta")
            case "latency":
                value = chance.choices((chance.lognormvariate(-3, 1.5), 0.0, -chance.random()), (20, 1, 1))[0]
                return _sample("latency", {"path": f"/p{chance.randrange(3)}"}, value, self._at(now_ms), "distribution")
            case "requests":
                writer = chance.choice(("shared", f"own-{self.base}"))
                since, value = self._begun(writer, now_ms)
                sample = _sample("requests", {"writer": writer, "host": host}, value, max(since, self._at(now_ms)), "counter")
                return sample | ({"start": since} if chance.random() < 0.9 else {})
            case "clicks":  # more and more users; never so late that no window shows it, for these must all be there
                user = min(int(chance.expovariate(0.1)), USERS - 1)
                labels = {"user": f"u{user}", "page": f"p{chance.randrange(3)}"}
                return _sample("clicks", labels, chance.randrange(1, 40) / 4, now_ms - chance.randrange(20_000), "delta")
            case "unasked":
                return _sample("unasked", {}, 1, now_ms, "gauge")
        self.serial += 1
        return _sample(UNIQUE, {"shard": str(self.serial % 8)}, self.base + self.serial, now_ms, "gauge")

    def _begun(self, writer: str, now_ms: int) -> tuple[int, float]:
        """A counter that says since when it counts. One is written by several producers, each with a start of its own."""
        since, value = self.begun.get(writer, (now_ms, 0.0))
        if self.chance.random() < 0.03:
            since, value = now_ms, 0.0
        self.begun[writer] = since, value + self.chance.choice((0, 1, 5, 0.7))
        return self.begun[writer]

    def _count(self, host: str, code: str) -> float:
        """A counter of this producer; now and then it begins anew."""
        held = self.counters.get((host, code), 0.0)
        grown = 0.0 if self.chance.random() < 0.02 else held + self.chance.choice((0, 1, 17, 0.3, 1234))
        self.counters[host, code] = grown
        return grown

    def _at(self, now_ms: int) -> int:
        """Mostly now, often out of order, now and then late, seldom so late that no window shows it."""
        late = self.chance.choices(
            (0, self.chance.randrange(4_000), self.chance.randrange(4_000, 25_000), self.chance.randrange(25_000, 120_000),
             self.chance.randrange(700_000, 3_000_000)),
            (40, 50, 6, 1, 0.5),
        )[0]  # fmt: skip
        return now_ms - late


def _sample(metric: str, labels: dict[str, str], value: float, at: int, kind: str) -> Sample:
    return {"metric": metric, "labels": labels, "value": value, "time": at, "kind": kind}
