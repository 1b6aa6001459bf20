"""Topics: makes the missing ones. Which topics there are is in `contract.names`."""

import asyncio
import time
from typing import Any, Final

from aiokafka import errors
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.offset import OffsetRequest

from services.contract.names import DEAD_LETTER_TOPIC, LATE_TOPIC, LINEAGE_TOPIC, SAMPLES_TOPIC
from services.transport.log_wire import RETRY_S, Leaders, LogAway, LogError, Wire
from services.transport.settings import KafkaSettings

LETTERS_MS: Final = 7 * 86_400_000
"""How long late samples and dead letters are kept, when their topics are made: over a weekend, for a person to look at."""
_LATEST: Final = -1

# What a broker says while it is still starting, or while somebody else is making the same topic.
_PASSING: Final = (
    errors.TopicAlreadyExistsError,
    errors.NotControllerError,
    errors.RequestTimedOutError,
    errors.InvalidReplicationFactorError,  # fewer brokers have registered than the topic needs copies
    errors.LeaderNotAvailableError,
)


async def ensure_topics(settings: KafkaSettings) -> dict[str, Leaders]:
    """Make our topics where they are missing. LogError when that does not work."""
    wire = Wire(settings)
    try:
        await wire.open()
        return await ensure_topics_on(wire, settings)
    finally:
        await wire.close()


async def ensure_topics_on(wire: Wire, settings: KafkaSettings) -> dict[str, Leaders]:
    """The same over a Wire that is open, so that what is sent over it afterwards meets topics that exist.

    A topic that is there keeps its partitions, whatever the settings say. Returns the leaders of each topic.
    """
    wanted = {
        SAMPLES_TOPIC: (settings.partitions, settings.retention_ms),
        LINEAGE_TOPIC: (1, -1),
        LATE_TOPIC: (1, LETTERS_MS),
        DEAD_LETTER_TOPIC: (1, LETTERS_MS),
    }
    deadline = time.monotonic() + settings.request_timeout_ms / 1000
    refusal = "no leader was elected"
    while True:
        found = await wire.leaders(wanted)
        missing = [topic for topic in wanted if topic not in found]
        if not missing and all(min(leaders.values(), default=-1) >= 0 for leaders in found.values()):
            refusal = await _unready(wire, found)
            if not refusal:
                return found
        elif missing:
            refusal = await _create(wire, [_topic(topic, *wanted[topic], settings) for topic in missing], settings)
            if not refusal:
                refusal = "no leader was elected"
                continue
        if time.monotonic() > deadline:
            raise LogError(f"topics {', '.join(wanted)} could not be made ready: {refusal}")
        await asyncio.sleep(RETRY_S)


def _topic(name: str, partitions: int, retention_ms: int, settings: KafkaSettings) -> tuple[Any, ...]:
    return name, partitions, settings.replication, [], [("retention.ms", str(retention_ms))]


async def _unready(wire: Wire, found: dict[str, Leaders]) -> str:
    """What a leader says that does not serve its partition yet, "" when all do. Kafka names leaders before they have been told."""
    by_node: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for topic, leaders in found.items():
        for partition, node in leaders.items():
            by_node.setdefault(node, {}).setdefault(topic, []).append((partition, _LATEST))
    for node, topics in by_node.items():
        answer = await wire.ask(node, OffsetRequest(-1, 0, list(topics.items())))
        for topic, partitions in answer.topics:
            for partition, code, *_ in partitions:
                if (error := errors.for_code(code)) is not errors.NoError:
                    return f"partition {partition} of {topic}: {error.__name__}"
    return ""


async def _create(wire: Wire, topics: list[tuple[Any, ...]], settings: KafkaSettings) -> str:
    """Ask for topics. "" when they were made, else why not, if asking again may help; LogError if not."""
    request = CreateTopicsRequest(topics, settings.request_timeout_ms, False)
    try:
        answer = await wire.ask(wire.controller if wire.controller >= 0 else wire.any_node(), request)
    except LogAway:
        raise
    refusal = ""
    for topic, code, *detail in answer.topic_errors:
        error = errors.for_code(code)
        if error is errors.NoError:
            continue
        refusal = f"{topic}: {(detail and detail[0]) or error.__name__}"
        if error not in _PASSING:
            raise LogError(f"topic {refusal}")
    return refusal
