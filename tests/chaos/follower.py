"""A subscriber of one view by the documented protocol, and a judge of what it hears. Pure.

A subscriber applies what joins on, and reads the history at a gap, in another epoch, where what it has was lost, and after every return of its connection. The judge sees
every message of a channel: on one connection their chain has no hole and their newest sample never gets older, and versions only grow within an epoch. Another epoch is
another history, whose versions need not be above those of the one before: that is why readers look at the epoch first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from services.contract.history import Change, ViewHistory
from services.contract.terms import knows

Verdict = Literal["applied", "known", "gap", "epoch", "forked"]
Cells = dict[tuple[int, int], float]  # (bucket, group) -> value; cells that have none are not there


@dataclass
class Follower:
    """version 0: nothing is known yet."""

    epoch: str = ""
    version: int = 0
    cells: Cells = field(default_factory=dict)
    labels: dict[int, Mapping[str, str]] = field(default_factory=dict)

    def take(self, change: Change) -> Verdict:
        if change.epoch != self.epoch:
            return "epoch"
        if change.prev > self.version:
            return "gap"
        if change.version <= self.version:
            return "known"
        if change.prev < self.version:
            return "forked"
        for group in change.groups:
            self.labels[group.number] = group.labels
        for part in change.cells:
            for group_, value in zip(part.groups, part.values, strict=True):
                self._put(part.start, group_, value)
        self.version = change.version
        return "applied"

    @property
    def after(self) -> int:
        """From which version on the history is to be read; -1: all of it."""
        return self.version if self.epoch else -1

    def read(self, history: ViewHistory | None, after: int) -> bool:
        """Take in what was read after a version. False: read it whole, for it is of another epoch, or has not got what is here."""
        if history is None:
            self.epoch, self.version, self.cells, self.labels = "", 0, {}, {}
            return True
        if after >= 0 and (history.epoch != self.epoch or not knows(history.terms, history.version, self.version)):
            return False
        if after < 0:
            self.epoch, self.version, self.cells, self.labels = history.epoch, 0, {}, {}
        self.labels.update(history.groups)
        for bucket, rows in history.rows.items():
            for group, _, value in rows.tolist():
                self._put(bucket, group, value)
        self.version = max(self.version, history.version)
        return True

    def _put(self, bucket: int, group: int, value: float | None) -> None:
        if value is None or value != value:
            self.cells.pop((bucket, group), None)
        else:
            self.cells[bucket, group] = value


@dataclass
class Judge:
    """What was heard of one view. heard: messages on all connections."""

    view: str
    heard: int = 0
    faults: list[str] = field(default_factory=list)
    _last: Change | None = None
    _highest: dict[str, int] = field(default_factory=dict)  # by epoch

    def connected(self) -> None:
        """Another connection: what was published before it nobody had to tell us."""
        self._last = None

    def hear(self, change: Change) -> None:
        self.heard += 1
        last, self._last = self._last, change
        if change.version < change.prev:
            self._fault(f"goes from {change.prev} back to {change.version}")
        if change.version == change.prev:
            if change.cells:
                self._fault(f"changes cells and stays at {change.version}")
            if change.groups:
                self._fault(f"tells of new groups and stays at {change.version}")
        elif change.version <= self._highest.get(change.epoch, 0):
            self._fault(f"version {change.version} was published before, in epoch {change.epoch}")
        self._highest[change.epoch] = max(change.version, self._highest.get(change.epoch, 0))
        if last is not None and last.epoch == change.epoch and change.prev != last.version:
            self._fault(f"after {last.version} comes a message from {change.prev} on: one is missing on an unbroken connection")
        elif last is not None and last.epoch == change.epoch and 0 < change.sampled < last.sampled:
            self._fault(f"the newest sample of version {change.version} is of {change.sampled}, after one of {last.sampled}")

    def _fault(self, text: str) -> None:
        self.faults.append(f"view {self.view}: {text}")


def difference(follower: Follower, history: ViewHistory, oldest: int) -> list[str]:
    """How what a subscriber assembled differs from the history at the same version. oldest: epoch ms; buckets before may be gone from it."""
    if (follower.epoch, follower.version) != (history.epoch, history.version):
        return [f"the subscriber is at {follower.epoch}:{follower.version}, the history at {history.epoch}:{history.version}"]
    there: Cells = {}
    for bucket, rows in history.rows.items():
        for group, _, value in rows.tolist():
            if value == value:
                there[bucket, group] = value
    wrong = [
        f"{at}: {follower.cells.get(at)} at the subscriber, {value}"
        for at, value in there.items()
        if follower.cells.get(at) != value
    ]
    wrong += [
        f"{at}: {follower.cells[at]} at the subscriber, nothing"
        for at in follower.cells.keys() - there.keys()
        if at[0] > oldest
    ]
    wrong += [
        f"group {n}: {follower.labels.get(n)}, not {labels}"
        for n, labels in history.groups.items()
        if follower.labels.get(n) != labels
    ]
    return wrong
