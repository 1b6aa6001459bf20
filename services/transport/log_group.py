"""The consumer group under which the aggregators' progress is published, so that tools that watch lag see it.

Nobody joins it and nothing is read back: where a fold stands lies in Redis, beside its cells.
"""

from collections.abc import Mapping

import structlog
from aiokafka import errors
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest

from services.contract.names import AGGREGATOR_GROUP, SAMPLES_TOPIC
from services.transport.log_wire import LogAway, LogError, Wire
from services.transport.settings import KafkaSettings

log = structlog.get_logger()


class GroupOffsets:
    """Publishes offsets now and then. A broker that has no groups is asked once."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._wire: Wire | None = None
        self._coordinator = -1
        self.refused = ""

    async def publish(self, offsets: Mapping[int, int]) -> None:
        """offsets: of the next record of each partition. What goes wrong is told once, and is nobody's trouble."""
        if self.refused or not offsets:
            return
        try:
            await self._publish(offsets)
        except LogAway:
            await self.stop()
        except (LogError, errors.KafkaError, NotImplementedError) as error:
            self.refused = str(error) or type(error).__name__
            log.info("the broker takes no offsets of a group; lag is in our own metrics", reason=self.refused)
            await self.stop()

    async def stop(self) -> None:
        if self._wire is not None:
            await self._wire.close()
            self._wire = None

    async def _publish(self, offsets: Mapping[int, int]) -> None:
        if self._wire is None:
            self._wire = Wire(self._settings)
            await self._wire.open()
            self._coordinator = -1
        if self._coordinator < 0:
            answer = await self._wire.ask(self._wire.any_node(), FindCoordinatorRequest(AGGREGATOR_GROUP, 0))
            if errors.for_code(answer.error_code) is not errors.NoError:
                return  # Kafka makes the topic of its groups when it is first asked; the next time will do
            self._coordinator = answer.coordinator_id
        rows = [(partition, offset, "") for partition, offset in sorted(offsets.items())]
        request = OffsetCommitRequest(AGGREGATOR_GROUP, -1, "", -1, [(SAMPLES_TOPIC, rows)])
        answer = await self._wire.ask(self._coordinator, request)
        for _, partitions in answer.topics:
            for _, code in partitions:
                error = errors.for_code(code)
                if error in (errors.NotCoordinatorForGroupError, errors.GroupCoordinatorNotAvailableError):
                    self._coordinator = -1
                elif error is not errors.NoError and not getattr(error, "retriable", False):
                    raise LogError(error.__name__)
