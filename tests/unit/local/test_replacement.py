"""The order in which the embedded broker is replaced, over hands that only remember."""

import pytest

from services.local.replacement import recover, replace


class Hands:
    """Knows who may send, and fails the test when somebody sends to a broker without topics."""

    def __init__(self, *, holds: bool = True, drains: bool = True, resumes: bool = True) -> None:
        self.holds, self.drains, self.resumes = holds, drains, resumes
        self.done: list[str] = []
        self.sending = True
        self.topics = True

    def _check(self) -> None:
        assert self.topics or not self.sending, "somebody sends to a broker without topics"

    async def hold(self, seconds: float) -> bool:
        assert seconds > 0
        self.done.append("hold")
        if self.holds:
            self.sending = False
        return self.holds

    async def drained(self, seconds: float) -> bool:
        assert not self.sending, "the log is not at rest"
        self.done.append("drained")
        return self.drains

    async def stop_broker(self) -> None:
        self.done.append("stop")

    async def start_broker(self) -> None:
        self.done.append("start")
        self.topics = False
        self._check()

    async def resume(self, seconds: float) -> bool:
        self.done.append("resume")
        if self.resumes:
            self.topics = self.sending = True
        return self.resumes

    async def restart_ingestor(self) -> None:
        self.done.append("restart ingestor")
        self.sending = False  # until it has made the topics of whichever broker it finds


async def test_a_planned_replacement_waits_until_the_log_is_folded() -> None:
    hands = Hands()
    await replace(hands)
    assert hands.done == ["hold", "drained", "stop", "start", "resume"]
    assert hands.sending


async def test_a_log_that_is_not_folded_in_time_is_given_up() -> None:
    hands = Hands(drains=False)
    await replace(hands)
    assert hands.done == ["hold", "drained", "stop", "start", "resume"]


async def test_after_a_death_the_ingestor_holds_before_a_fresh_broker_starts() -> None:
    hands = Hands()
    await recover(hands)
    assert hands.done == ["hold", "start", "resume"]


@pytest.mark.parametrize("act", [replace, recover])
async def test_an_ingestor_that_does_not_hold_is_ended_before_the_broker_starts(act: object) -> None:
    hands = Hands(holds=False)
    await act(hands)  # type: ignore[operator]
    assert hands.done.index("restart ingestor") < hands.done.index("start")
    assert "resume" not in hands.done


async def test_an_ingestor_that_does_not_resume_is_restarted() -> None:
    hands = Hands(resumes=False)
    await recover(hands)
    assert hands.done == ["hold", "start", "resume", "restart ingestor"]
