"""The identity of a topic: the UUID that Kafka draws when it makes one, so that a topic that was made again is known to be another one.

aiokafka's own metadata requests stop before the version that tells it.
"""

from io import BytesIO
from typing import Any, Final
from uuid import UUID

from aiokafka import errors
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from services.transport.log_wire import LogError, TopicMissing, Wire

_NONE: Final = UUID(int=0)


class _Uuid(AbstractType[UUID]):  # type: ignore[misc]  # aiokafka has no types
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


_PARTITION: Final = (
    ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32), ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)), ("offline", CompactArray(Int32)), ("tags", TaggedFields),
)  # fmt: skip
_TOPIC: Final = (
    ("error_code", Int16), ("topic", CompactString("utf-8")), ("topic_id", _Uuid), ("is_internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)), ("operations", Int32), ("tags", TaggedFields),
)  # fmt: skip
_BROKER: Final = (
    ("node_id", Int32), ("host", CompactString("utf-8")), ("port", Int32), ("rack", CompactString("utf-8")), ("tags", TaggedFields),
)  # fmt: skip


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(*_BROKER)),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        ("topics", CompactArray(*_TOPIC)),
        ("cluster_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestV10(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestV10]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_MetadataRequestV10]) -> _MetadataRequestV10:
        return request_struct_class([(_NONE, self._topic, {})], False, False, False, {})


async def topic_id(wire: Wire, topic: str) -> str | None:
    """The topic's UUID in hexadecimal digits; None where the broker knows no such thing. TopicMissing, LogError."""
    try:
        answer: Any = await wire.ask(wire.any_node(), _MetadataRequest(topic))
    except NotImplementedError:  # aiokafka's word for a version that the broker does not offer
        return None
    for code, name, found, *_ in answer.topics:
        error = errors.for_code(code)
        if name == topic and error in (errors.NoError, errors.LeaderNotAvailableError):
            return found.hex if found != _NONE else None
        if error is not errors.UnknownTopicOrPartitionError:
            raise LogError(f"topic {topic}: {error.__name__}")
    raise TopicMissing(f"there is no topic {topic}")
