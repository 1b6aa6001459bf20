"""How the log (Kafka) and the feed (Redis) are reached. What is said over them is in `contract`."""

from dataclasses import dataclass

from services.runtime.settings import setting


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The log. Partitions, replication and retention matter only where a topic is missing and is made."""

    bootstrap_servers: str = setting(
        "127.0.0.1:9092", "KAFKA_BOOTSTRAP_SERVERS", "Brokers of the log, host:port, comma separated."
    )
    partitions: int = setting(
        4, "TIDEBOARD_KAFKA_PARTITIONS", "Partitions of the samples topic, when it is made", between=(1, 4096)
    )
    replication: int = setting(
        1,
        "TIDEBOARD_KAFKA_REPLICATION",
        "Copies of each partition, when topics are made. 3 in production; one broker can hold 1",
    )
    retention_ms: int = setting(
        86_400_000,
        "TIDEBOARD_KAFKA_RETENTION_MS",
        "How long the samples topic keeps its records, when it is made. New dashboards are filled from it",
        "ms",
    )
    compression: str = setting(
        "lz4",
        "TIDEBOARD_KAFKA_COMPRESSION",
        "Compression of records. lz4 costs the least CPU per sample",
        choices=("none", "gzip", "lz4", "zstd", "snappy"),
    )
    fetch_wait_ms: int = setting(
        500,
        "TIDEBOARD_KAFKA_FETCH_WAIT_MS",
        "How long a broker may hold a fetch that finds nothing. Kafka answers as soon as something arrives; the embedded broker does not, and gets 50",
        "ms",
    )
    request_timeout_ms: int = setting(
        10_000,
        "TIDEBOARD_KAFKA_REQUEST_TIMEOUT_MS",
        "After how long a request to a broker counts as failed",
        "ms",
        between=(100, 600_000),
    )


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """The feed: shared state and fan-out. Redis or Valkey."""

    url: str = setting(
        "redis://127.0.0.1:6379/0", "REDIS_URL", "Redis or Valkey: redis://[user:password@]host:port/db, rediss:// for TLS."
    )
