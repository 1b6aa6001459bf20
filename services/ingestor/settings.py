"""Settings of the ingestor."""

from dataclasses import dataclass
from typing import Final

from services.runtime.settings import PORT, setting

PORT_VARIABLE: Final = "TIDEBOARD_INGESTOR_PORT"
YEAR_MS: Final = 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class IngestorSettings:
    """Where samples are taken, and what is taken."""

    host: str = setting("127.0.0.1", "TIDEBOARD_INGESTOR_HOST", "Address on which samples are taken; 0.0.0.0 in a pod")
    port: int = setting(8081, PORT_VARIABLE, "Port on which samples are taken", between=PORT)
    max_body_bytes: int = setting(
        8 << 20, "TIDEBOARD_INGESTOR_MAX_BODY_BYTES", "The longest body of a request, as it is sent", "bytes"
    )
    max_decoded_bytes: int = setting(
        64 << 20, "TIDEBOARD_INGESTOR_MAX_DECODED_BYTES", "The longest body of a request, after decompression", "bytes"
    )
    max_waiting_bytes: int = setting(
        64 << 20,
        "TIDEBOARD_INGESTOR_MAX_WAITING_BYTES",
        "What may wait here to be read or to be acknowledged by the log. Above that requests are answered 503, so that an outage costs no memory",
        "bytes",
    )
    timeout_ms: int = setting(
        10_000,
        "TIDEBOARD_INGESTOR_TIMEOUT_MS",
        "How long a request waits for the log before it is answered 503",
        "ms",
        between=(1, 600_000),
    )
    linger_ms: float = setting(
        5.0,
        "TIDEBOARD_INGESTOR_LINGER_MS",
        "How long samples wait for others to share a record with. Small records cost the log and the aggregator more",
        "ms",
        between=(0, 1000),
    )
    sources: bool = setting(
        True,
        "TIDEBOARD_INGESTOR_SOURCES",
        "Whether the topics that Sources name are read here. That needs Redis; HTTP does not",
    )
    lease_ms: int = setting(
        3_000,
        "TIDEBOARD_INGESTOR_LEASE_MS",
        "After how long without a word an ingestor's partitions of sources go to others",
        "ms",
        between=(500, 600_000),
    )
    dead_letters: int = setting(
        600,
        "TIDEBOARD_INGESTOR_DEAD_LETTERS",
        "How many records that cannot be read a source may copy to the dead-letter topic; more are only counted. They stay in their own topic",
        "per minute",
        between=(0, 10_000_000),
    )
    future_ms: int = setting(
        60_000, "TIDEBOARD_INGESTOR_MAX_FUTURE_MS", "How far ahead of now a sample's time may be", "ms", between=(0, YEAR_MS)
    )
    past_ms: int = setting(
        3_600_000,
        "TIDEBOARD_INGESTOR_MAX_PAST_MS",
        "How far behind now a sample's time may be. Dashboards look back this far",
        "ms",
        between=(0, YEAR_MS),
    )
