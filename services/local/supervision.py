"""Which child to start, and when: the decisions of a supervisor. Starting and watching them is `children`'s work.

Tell it what happened and ask it what to do. Times are seconds of any clock that does not go back.
"""

from dataclasses import dataclass
from typing import Final, Literal

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 10.0
STEADY_S: Final = 10.0  # who has run for so long is forgiven its failures

State = Literal["waiting", "starting", "up", "down", "stopped"]


@dataclass(slots=True)
class Child:
    """What is known of one child. since: when it came to its state; failures: in a row, and decide how long it waits."""

    name: str
    state: State = "waiting"
    since: float = 0.0
    pid: int | None = None
    restarts: int = 0
    failures: int = 0
    start_at: float = 0.0
    started_at: float = 0.0
    ever_up: bool = False
    last_exit: str = ""


class Supervision:
    """Children that shall all be up."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.children = {name: Child(name) for name in names}
        self._barred: set[str] = set()

    def due(self, now: float) -> list[str]:
        """Who is to be started now."""
        return [child.name for child in self._idle() if child.start_at <= now]

    def next_due(self) -> float | None:
        """When somebody is to be started next; None: nobody waits."""
        return min((child.start_at for child in self._idle()), default=None)

    def bar(self, name: str) -> None:
        """It is not started until it is allowed again."""
        self._barred.add(name)

    def allow(self, name: str) -> None:
        self._barred.discard(name)

    def started(self, name: str, pid: int, now: float) -> None:
        child = self._move(name, "starting", now)
        child.pid = pid
        child.started_at = now
        child.restarts += child.last_exit != ""

    def answered(self, name: str, now: float) -> bool:
        """It does its work; True where that is news."""
        child = self.children[name]
        if child.state != "starting":
            return False
        self._move(name, "up", now).ever_up = True
        return True

    def exited(self, name: str, reason: str, now: float) -> float:
        """It ended by itself. How long until it is started again, in seconds."""
        child = self.children[name]
        if now - child.started_at >= STEADY_S:
            child.failures = 0
        wait = min(FIRST_WAIT_S * 2.0**child.failures, LONGEST_WAIT_S)
        child.failures += 1
        self._end(child, reason, now, now + wait)
        return wait

    def replaced(self, name: str, reason: str, now: float) -> None:
        """It was ended on purpose, for another one to take its place at once."""
        self._end(self.children[name], reason, now, now)

    def stop(self, now: float) -> None:
        """Nobody is started any more."""
        for name in self.children:
            self._move(name, "stopped", now)

    def _idle(self) -> list[Child]:
        return [
            child for child in self.children.values() if child.state in ("waiting", "down") and child.name not in self._barred
        ]

    def _end(self, child: Child, reason: str, now: float, start_at: float) -> None:
        child.pid = None
        child.last_exit = reason
        child.start_at = start_at
        self._move(child.name, "stopped" if child.state == "stopped" else "down", now)

    def _move(self, name: str, state: State, now: float) -> Child:
        child = self.children[name]
        if child.state != state:
            child.state = state
            child.since = now
        return child


def exit_reason(code: int) -> str:
    """An exit code as asyncio tells it, in words."""
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
