"""What is told beside cells: how much of it, and when."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from services.aggregator.catchup import Slot
from services.aggregator.fold import MAX_UNREAD, Fold
from services.aggregator.telling import DEAD_BURST, Allowance, Telling
from services.transport.letters import Letter, LetterWriter
from services.transport.log import Record
from services.transport.log_wire import LogError
from services.transport.settings import KafkaSettings
from tests.unit.aggregator.logs import config, view


def test_an_allowance_is_a_burst_and_then_a_rate() -> None:
    allowance = Allowance(10, 100, 0.0)
    assert allowance.take(100, 0.0)
    assert not allowance.take(1, 0.05)
    assert allowance.take(1, 0.15)
    assert not allowance.take(50, 5.0)
    assert allowance.take(49, 5.1)


def test_what_was_refused_costs_nothing_and_rest_does_not_pile_up() -> None:
    allowance = Allowance(10, 100, 0.0)
    assert not allowance.take(101, 1_000.0)
    assert allowance.take(100, 1_000.0)
    assert not allowance.take(100, 1_001.0)


class Topic:
    """A dead-letter topic: what was written, in order; while it is away it takes nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.letters: list[Letter] = []
        self.away = False

        async def write(_: LetterWriter, letters: Sequence[Letter]) -> None:
            await asyncio.sleep(0)
            if self.away:
                raise LogError("away")
            self.letters += letters

        monkeypatch.setattr(LetterWriter, "write", write)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    return Topic(monkeypatch)


def unreadable(count: int) -> Slot:
    slot = Slot(0, Fold(config(view()), 0), "")
    slot.fold.apply(Record(0, at, 0, b"XX") for at in range(count))
    return slot


def outcomes() -> dict[str, float]:
    names = ("written", "withheld", "lost")
    return {
        name: REGISTRY.get_sample_value("tideboard_aggregator_dead_letters_total", {"outcome": name}) or 0 for name in names
    }


def grown(before: dict[str, float]) -> tuple[float, ...]:
    return tuple(now - before[name] for name, now in outcomes().items())


async def test_what_cannot_be_read_is_written_before_the_commit_that_passes_over_it(topic: Topic) -> None:
    telling, slot, before = Telling(KafkaSettings()), unreadable(3), outcomes()
    await telling.before([slot])
    assert [letter.offset for letter in topic.letters] == [0, 1, 2]
    await telling.before([slot])
    telling.count([slot])
    assert (len(topic.letters), grown(before)) == (3, (3, 0, 0))
    await telling.stop()


async def test_a_broken_writer_does_not_fill_the_dead_letters(topic: Topic) -> None:
    telling, slot, before = Telling(KafkaSettings()), unreadable(MAX_UNREAD + 50), outcomes()
    await telling.before([slot])
    telling.count([slot])
    written, withheld, lost = grown(before)
    assert (written + withheld, lost) == (MAX_UNREAD + 50, 0)
    assert DEAD_BURST <= written == len(topic.letters) < MAX_UNREAD
    await telling.stop()


async def test_a_commit_does_not_wait_for_a_topic_that_cannot_be_written(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.aggregator.telling.PATIENCE_S", 0.01)
    telling, slot, before = Telling(KafkaSettings()), unreadable(1), outcomes()
    topic.away = True
    await telling.before([slot])
    telling.count([slot])
    assert grown(before) == (0, 0, 0)  # it waits for the topic
    await telling.stop()
