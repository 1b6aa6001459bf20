"""LogWriter and answers that no broker should give."""

import asyncio
import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from services.transport.log_wire import LogError
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings


async def test_an_answer_that_is_not_understood_breaks_the_writer_and_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def says_nothing(*_: Any) -> Any:
        return SimpleNamespace(topics=[])

    writer = LogWriter(KafkaSettings())
    monkeypatch.setattr(writer, "_leaders", {0: 1})
    monkeypatch.setattr(writer, "_queues", {0: deque()})
    monkeypatch.setattr(writer._wire, "ask", says_nothing)
    async with asyncio.timeout(5):
        with pytest.raises(LogError, match="not understood"):
            await writer.append(0, b"x")
    assert writer.fault
    await writer.stop()


async def test_a_look_says_whether_the_topic_is_as_it_was_and_ends_a_writer_whose_topic_has_grown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = {0: 1, 1: 1}
    broken: list[str] = []

    async def leaders(topics: Any) -> Any:
        return {topic: dict(there) for topic in topics if there}

    writer = LogWriter(KafkaSettings(), lambda: broken.append("told"))
    monkeypatch.setattr(writer, "_leaders", dict(there))
    monkeypatch.setattr(writer._wire, "leaders", leaders)
    before = time.monotonic()
    assert await writer.look()
    assert (looked := writer.looked_at) >= before
    there.clear()
    assert not await writer.look(), "a broker that does not know the topic says nothing"
    assert (writer.looked_at, writer.fault) == (looked, None)
    there.update({0: 1, 1: 1, 2: 1})
    for _ in range(2):
        with pytest.raises(LogError, match="has 3 partitions now, it had 2"):
            await writer.look()
    assert (writer.looked_at, broken) == (looked, ["told"])
    with pytest.raises(LogError, match="has 3 partitions now"):
        await writer.append(0, b"x")
