"""What a topic is configured to keep."""

import contextlib
from typing import Any, Final

from aiokafka import errors
from aiokafka.protocol.admin import DescribeConfigsRequest

from services.contract.names import SAMPLES_TOPIC
from services.transport.log_wire import LogAway, Wire
from services.transport.settings import KafkaSettings

_TOPIC: Final = 2
FOR_EVER: Final = -1


async def retention_ms(settings: KafkaSettings) -> int | None:
    """For how long the samples topic keeps its records; FOR_EVER, or None where the broker does not say. LogAway when none answers."""
    wire = Wire(settings)
    try:
        await wire.open()
        with contextlib.suppress(LogAway):  # the embedded broker ends the connection when it is asked
            answer = await wire.ask(wire.any_node(), DescribeConfigsRequest([(_TOPIC, SAMPLES_TOPIC, ["retention.ms"])]))
            return _read(answer)
        return None
    finally:
        await wire.close()


def _read(answer: Any) -> int | None:
    for code, _, _, topic, entries in answer.resources:
        if errors.for_code(code) is errors.NoError and topic == SAMPLES_TOPIC:
            for name, value, *_ in entries:
                if name == "retention.ms" and value:
                    return int(value)
    return None
