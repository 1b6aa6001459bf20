"""What a run did and found. Findings have kinds, so that one can ask not only whether a run is red, but why."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.chaos.schedule import Broker

Kind = Literal["cells", "job", "judge", "subscriber", "settle", "ingestor", "lost", "ended", "exception"]

MEANINGS: Final[dict[Kind, str]] = {
    "cells": "a cell in Redis is not what the batch job computed, or should not be there",
    "job": "the batch job doubts itself: its bins and its samples disagree",
    "judge": "a channel's messages break their chain, or a version comes back",
    "subscriber": "what a subscriber assembled is not the history",
    "settle": "something was not folded in time, or views went on to change",
    "ingestor": "the ingestor accepted or refused other samples than it should",
    "lost": "something that was acknowledged is not in the log, or is there twice",
    "ended": "a process ended by itself",
    "exception": "the run itself failed",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in a sentence."""

    kind: Kind
    text: str


@dataclass
class Outcome:
    """wrong: what was found; nothing when the engine kept its promise. away_s: Kafka's longest absence.

    orders: samples that came through a source; started: samples of counters that say since when they count; pooled_cells: of views, of groups that are
    not shown apart.
    """

    seed: int
    broker: Broker
    seconds: float
    records: int = 0
    samples: int = 0
    duplicates: int = 0
    poison: int = 0
    tombstones: int = 0
    orders: int = 0
    started: int = 0
    pooled_cells: int = 0
    bad: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    view_cells: int = 0
    partial_cells: int = 0
    messages: int = 0
    gaps: int = 0
    returns: int = 0
    lost_bytes: int = 0
    away_s: float = 0.0
    settled_s: float = 0.0
    wrong: list[Finding] = field(default_factory=list)

    def found(self, kind: Kind, texts: Iterable[str]) -> None:
        """Note what is wrong; what is noted already stays once."""
        self.wrong = list(dict.fromkeys([*self.wrong, *(Finding(kind, text) for text in texts)]))

    @property
    def cells(self) -> int:
        """How many were compared."""
        return self.view_cells + self.partial_cells

    @property
    def kinds(self) -> Counter[Kind]:
        """How many findings of each kind."""
        return Counter(finding.kind for finding in self.wrong)

    @property
    def wrong_cells(self) -> int:
        return self.kinds["cells"]
