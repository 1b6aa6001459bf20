"""The order in which the embedded broker is replaced, over hands that only remember."""

from collections.abc import Awaitable, Callable

import pytest

from services.local.replacement import folded_all, recover, replace


class Hands:
    """A broker that may have topics and an ingestor that may send; fails the test when it sends to a broker without topics."""

    def __init__(self, *, holds: bool = True, drains: bool = True, resumes: bool = True, dies_held: bool = False) -> None:
        self.holds, self.drains, self.resumes, self.dies_held = holds, drains, resumes, dies_held
        self.done: list[str] = []
        self.running = self.sending = self.topics = True
        self.allowed = True

    async def hold(self, seconds: float) -> bool:
        assert seconds > 0
        self.done.append("hold")
        self.allowed = False
        self.sending = not self.holds
        return self.holds

    async def end_ingestor(self) -> None:
        self.done.append("end ingestor")
        self.running = self.sending = False
        self._supervise()

    async def drained(self, seconds: float) -> bool:
        assert not self.sending, "the log is not at rest"
        self.done.append("drained")
        if self.dies_held:
            self.running = False
            self._supervise()
        return self.drains

    async def stop_broker(self) -> None:
        self.done.append("stop broker")

    async def start_broker(self) -> None:
        self.done.append("start broker")
        self.topics = False
        assert not self.sending, "the ingestor sends to a broker without topics"

    def allow_ingestor(self) -> None:
        self.allowed = True
        self._supervise()

    async def resume(self, seconds: float) -> bool:
        self.done.append("resume")
        if self.resumes:
            self.topics = self.sending = True
        return self.resumes

    def _supervise(self) -> None:
        """What the supervisor does with an ingestor that is down, and what an ingestor does at its start."""
        if self.allowed and not self.running:
            self.running = self.topics = self.sending = True


async def test_a_planned_replacement_waits_until_the_log_is_folded() -> None:
    hands = Hands()
    await replace(hands)
    assert hands.done == ["hold", "drained", "stop broker", "start broker", "resume"]
    assert hands.sending


async def test_a_log_that_is_not_folded_in_time_is_given_up() -> None:
    hands = Hands(drains=False)
    await replace(hands)
    assert hands.done == ["hold", "drained", "stop broker", "start broker", "resume"]


async def test_after_a_death_the_ingestor_holds_before_a_fresh_broker_starts() -> None:
    hands = Hands()
    await recover(hands)
    assert hands.done == ["hold", "start broker", "resume"]


@pytest.mark.parametrize("act", [replace, recover])
async def test_an_ingestor_that_does_not_hold_is_ended_before_the_broker_starts(
    act: Callable[[Hands], Awaitable[None]],
) -> None:
    hands = Hands(holds=False)
    await act(hands)
    assert hands.done[:2] == ["hold", "end ingestor"]
    assert "resume" not in hands.done
    assert hands.topics
    assert hands.sending


async def test_an_ingestor_that_dies_while_it_holds_is_not_started_before_the_fresh_broker() -> None:
    hands = Hands(dies_held=True)
    await replace(hands)
    assert hands.topics
    assert hands.sending


async def test_an_ingestor_that_does_not_resume_is_started_anew() -> None:
    hands = Hands(resumes=False)
    await recover(hands)
    assert hands.done == ["hold", "start broker", "resume", "end ingestor"]
    assert hands.topics
    assert hands.sending


@pytest.mark.parametrize(
    ("status", "held_s", "all_"),
    [
        ({"lag": 0, "looked_s_ago": 0.5}, 1.0, True),
        ({"lag": 0, "looked_s_ago": 1.5}, 1.0, False),  # asked before the hold: what came between is not in it
        ({"lag": 3, "looked_s_ago": 0.5}, 1.0, False),
        ({"lag": 0, "looked_s_ago": None}, 1.0, False),
        ({"lag": None, "looked_s_ago": None}, 1.0, False),
        ({}, 1.0, False),  # nobody answered
    ],
)
def test_all_is_folded_when_nothing_lags_behind_an_end_that_was_asked_for_after_the_hold(
    status: dict[str, object], held_s: float, all_: bool
) -> None:
    assert folded_all(status, held_s) is all_
