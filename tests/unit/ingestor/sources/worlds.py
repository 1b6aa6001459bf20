"""Sources and their records, made by hand."""

from dataclasses import dataclass
from typing import Any

import msgspec

from services.contract.series import parse_series_key
from services.contract.sources import Source, parse
from services.ingestor.columns import TimeLimits
from services.ingestor.sources.decode import Decoded, Decoder

NOW = 1_763_791_200_000
LIMITS = TimeLimits()


@dataclass(frozen=True)
class Given:
    """A record of a source's topic."""

    offset: int
    value: bytes
    timestamp: int = NOW


def source(name: str = "orders", **spec: Any) -> Source:
    document = {
        "apiVersion": "tideboard.dev/v1alpha1",
        "kind": "Source",
        "metadata": {"name": name},
        "spec": {"topic": "t", "format": "json"} | spec,
    }
    return parse(document)


def mapped(*samples: dict[str, Any], **spec: Any) -> Source:
    return source(samples=list(samples), **spec)


def given(*values: object, first: int = 0) -> list[Given]:
    return [Given(first + i, it if isinstance(it, bytes) else msgspec.json.encode(it)) for i, it in enumerate(values)]


def decoded(of: Source, *values: object) -> Decoded:
    return Decoder(of, 4, LIMITS).decode(given(*values), NOW)


def samples(found: Decoded) -> list[tuple[str, dict[str, str], float, int]]:
    """Metric, labels, value, and ms after NOW of each."""
    placed = found.placed
    rows = zip(placed.series.tolist(), placed.values.tolist(), placed.times.tolist(), strict=True)
    return [(*parse_series_key(placed.table.keys[series]), value, time - NOW) for series, value, time in rows]
