"""The sender against a log that does as the test says: what is sent again, in which order, and what orders do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest
import structlog

from services.contract.batch import decode
from services.ingestor import sender as module
from services.ingestor.columns import Columns, SeriesTable, TimeLimits, judge
from services.ingestor.outbox import Limits, Outbox
from services.ingestor.samples import Rows, Sample
from services.ingestor.sender import LogChangedError, Sender
from services.transport.log_wire import LogAway, LogError
from services.transport.log_writer import LogWriter


@dataclass
class FakeLog:
    """A log that outlives its writers. up: whether writers can be made; acknowledges: whether they answer."""

    partitions: int = 1
    lineage: str = "0123456789abcdef"
    up: bool = True
    why: str = "nobody there"
    acknowledges: bool = True
    records: list[bytes] = field(default_factory=list)
    writers: list["FakeWriter"] = field(default_factory=list)

    def make(self, on_break: Callable[[], None]) -> LogWriter:
        self.writers.append(FakeWriter(self, on_break))
        return cast("LogWriter", self.writers[-1])

    def values(self) -> list[float]:
        """In log order, whatever is there twice counted once."""
        past, found = -1, list[float]()
        for batch in map(decode, self.records):
            if batch.sequence > past:
                past = batch.sequence
                found += batch.values.tolist()
        return found


class FakeWriter:
    """What the sender knows of a LogWriter."""

    def __init__(self, log: FakeLog, on_break: Callable[[], None]) -> None:
        self.log = log
        self.on_break = on_break
        self.fault: LogError | None = None
        self.waiting: list[asyncio.Future[int]] = []
        self.partitions = log.partitions
        self.lineage = log.lineage

    async def start(self) -> None:
        if not self.log.up:
            raise LogAway(self.log.why)

    def append(self, partition: int, payload: bytes) -> "asyncio.Future[int]":
        done = asyncio.get_running_loop().create_future()
        if self.fault:
            done.set_exception(self.fault)
            return done
        self.log.records.append(payload)
        if self.log.acknowledges:
            done.set_result(len(self.log.records) - 1)
        else:
            self.waiting.append(done)
        return done

    def fail(self) -> None:
        """The connection breaks: what was not acknowledged is in the log all the same."""
        self.fault = LogAway("cut off")
        for done in self.waiting:
            if not done.done():
                done.set_exception(self.fault)
        self.on_break()

    def acknowledge(self) -> None:
        for number, done in enumerate(self.waiting):
            done.set_result(number)

    async def stop(self) -> None:
        if self.waiting:
            await asyncio.wait(self.waiting)

    async def abandon(self) -> None:
        self.fault = self.fault or LogAway("abandoned")
        for done in self.waiting:
            if not done.done():
                done.set_exception(self.fault)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> FakeLog:
    monkeypatch.setattr(module, "BACKOFF_S", (0.001, 0.002))
    monkeypatch.setattr(module, "UNDER_WAY_S", 0.05)
    return FakeLog()


@pytest.fixture
async def sender(log: FakeLog) -> AsyncIterator[Sender]:
    sender = Sender(Outbox(1, Limits(linger_s=0.0)), log.make)
    sender.start()
    yield sender
    await sender.stop(0.0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110, nobody tells
            await asyncio.sleep(0.001)


async def sending(sender: Sender) -> None:
    await until(lambda: sender.state == "sending")


TABLES: dict[int, SeriesTable] = {}


def columns(value: float, partitions: int = 1) -> Columns:
    table = TABLES.setdefault(partitions, SeriesTable(partitions))
    return judge(Rows([Sample("m", value)]), table, 0, TimeLimits()).columns


async def test_what_is_accepted_is_answered_when_the_log_has_it(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    log.acknowledges = False
    _, answer = sender.accept(columns(1))
    await until(lambda: len(log.records) == 1)
    assert not answer.done()
    log.writers[-1].acknowledge()
    await answer
    assert log.values() == [1.0]


async def test_why_the_log_was_never_reached_is_told_and_each_reason_once(log: FakeLog) -> None:
    log.up = False
    with structlog.testing.capture_logs() as told:
        sender = Sender(Outbox(1, Limits(linger_s=0.0)), log.make)
        sender.start()
        for why in ("nobody there", "wrong password", "nobody there"):
            log.why = why
            await until(lambda made=len(log.writers): len(log.writers) > made + 3)  # type: ignore[misc]
        log.up = True
        await sending(sender)
        log.up = False
        log.writers[-1].fail()
        await until(lambda: sender.fault == log.why)
        await sender.stop(0.0)
    reasons = [each["reason"] for each in told if each["event"] == "the log does not accept"]
    assert reasons == ["nobody there", "wrong password", "cut off", "nobody there"]


async def test_what_was_not_acknowledged_is_sent_again_in_order_with_the_same_bytes(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    log.acknowledges = False
    answers = []
    for value in range(5):
        answers.append(sender.accept(columns(value))[1])
        await until(lambda: len(log.records) == len(answers))
    first = list(log.records)
    log.acknowledges = True
    log.writers[-1].fail()
    await asyncio.gather(*answers)
    assert log.records == first * 2
    assert log.values() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(log.writers) == 2


async def test_what_is_accepted_while_the_log_is_away_comes_after_what_waits(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    log.up = log.acknowledges = False
    answers = [sender.accept(columns(1))[1]]
    await until(lambda: len(log.records) == 1)
    log.writers[-1].fail()
    await until(lambda: sender.state == "connecting")
    answers.append(sender.accept(columns(2))[1])
    await until(lambda: len(log.writers) > 4)
    assert sender.fault == "nobody there"
    log.up = log.acknowledges = True
    await asyncio.gather(*answers)
    assert log.values() == [1.0, 2.0]
    assert sender.fault == ""


async def test_hold_waits_for_what_is_under_way_and_sends_nothing_more(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    log.acknowledges = False
    _, answer = sender.accept(columns(1))
    await until(lambda: len(log.records) == 1)
    holding = asyncio.create_task(sender.hold())
    await asyncio.sleep(0)
    log.writers[-1].acknowledge()
    await holding
    await answer
    _, held = sender.accept(columns(2))
    await asyncio.sleep(0.01)
    assert (sender.state, len(log.records), held.done()) == ("held", 1, False)
    log.acknowledges = True
    assert await sender.resume(1)
    await held
    assert [decode(record).sequence for record in log.records] == [0, 1]


async def test_hold_does_not_wait_for_ever_and_what_was_under_way_is_sent_again(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    log.acknowledges = False
    _, answer = sender.accept(columns(1))
    await until(lambda: len(log.records) == 1)
    await sender.hold()
    assert sender.state == "held"
    log.acknowledges = True
    assert await sender.resume(1)
    await answer
    assert [decode(record).sequence for record in log.records] == [0, 0]


async def test_resume_says_when_the_log_is_not_reached_in_time(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    await sender.hold()
    log.up = False
    assert not await sender.resume(0.02)
    assert sender.state == "connecting"
    log.up = True
    await sending(sender)


async def test_a_hold_that_nobody_ends_ends_by_itself(log: FakeLog, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    await sending(sender)
    monkeypatch.setattr(module, "HOLD_S", 0.02)
    await sender.hold()
    _, answer = sender.accept(columns(1))
    await answer
    assert sender.state == "sending"


async def test_hold_while_there_is_no_writer_keeps_one_from_being_made(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    log.up = False
    log.writers[-1].fail()
    await until(lambda: len(log.writers) > 2)
    await sender.hold()
    log.up = True
    await asyncio.sleep(0.02)
    assert sender.state == "held"
    assert await sender.resume(1)


async def test_what_was_given_up_is_not_sent_again(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    await sender.hold()
    request, _ = sender.accept(columns(1))
    _, waits = sender.accept(columns(2))
    await asyncio.sleep(0.01)
    sender.give_up(request)
    assert await sender.resume(1)
    await waits
    # Both had lingered into one record, so both are there; a record of its own would not be.
    await sender.hold()
    alone, _ = sender.accept(columns(3))
    await asyncio.sleep(0.01)
    sender.give_up(alone)
    assert await sender.resume(1)
    _, last = sender.accept(columns(4))
    await last
    assert log.values() in ([1.0, 2.0, 4.0], [2.0, 4.0])


async def test_a_log_with_other_partitions_gets_nothing_of_the_old_ones(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    await sender.hold()
    _, waits = sender.accept(columns(1))
    log.partitions, log.lineage = 3, "fedcba9876543210"
    assert await sender.resume(1)
    with pytest.raises(LogChangedError):
        await waits
    _, answer = sender.accept(columns(2, partitions=3))
    await answer
    assert log.values() == [2.0]
    assert sender.partitions == 3


async def test_a_log_that_has_more_partitions_by_now_gets_what_was_meant_for_the_old_ones(log: FakeLog, sender: Sender) -> None:
    await sending(sender)
    log.acknowledges = False
    _, waits = sender.accept(columns(1))
    await until(lambda: len(log.records) == 1)
    log.partitions, log.acknowledges = 3, True
    log.writers[-1].fail()
    await waits
    _, answer = sender.accept(columns(2, partitions=3))
    await answer
    assert log.values() == [1.0, 2.0]
    assert sender.partitions == 3


async def test_stopping_sends_what_waits_and_says_what_it_could_not(log: FakeLog) -> None:
    sender = Sender(Outbox(1, Limits(linger_s=0.01)), log.make)
    sender.start()
    await sending(sender)
    sender.accept(columns(1))
    assert await sender.stop(1.0) == 0
    assert log.values() == [1.0]
    away = Sender(Outbox(1, Limits(linger_s=0.0)), log.make)
    away.start()
    await sending(away)
    log.acknowledges = False
    away.accept(columns(2))
    await until(lambda: len(log.records) == 2)
    assert await away.stop(0.01) == 1
    assert away.state == "stopped"
