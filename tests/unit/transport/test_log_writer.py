"""LogWriter and answers that no broker should give."""

import asyncio
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
