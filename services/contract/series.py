"""Series: a metric name and labels, and the canonical bytes that identify them everywhere.

key = metric 0xFF (name 0xFE value 0xFF)*, UTF-8, labels sorted by name, empty values left out.
0xFE and 0xFF never occur in UTF-8, so keys are unambiguous and sort by metric first.
"""

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final
from zlib import crc32

METRIC_PATTERN: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:.]*\Z")
LABEL_PATTERN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")

MAX_METRIC_BYTES: Final = 256
MAX_LABELS: Final = 32
MAX_LABEL_NAME_BYTES: Final = 128
MAX_LABEL_VALUE_BYTES: Final = 1024


class Kind(IntEnum):
    """What a sample's value means. The number is what a Batch carries."""

    gauge = 0
    counter = 1  # cumulative since some start; a fall is a reset
    delta = 2  # what was added since the sample before
    distribution = 3  # one observation


def series_key(metric: str, labels: Mapping[str, str]) -> bytes:
    """Canonical bytes of a series. Does not judge the names; see `name_fault`."""
    parts = [metric.encode(), b"\xff"]
    for name in sorted(labels):
        if value := labels[name]:
            parts += (name.encode(), b"\xfe", value.encode(), b"\xff")
    return b"".join(parts)


def parse_series_key(key: bytes) -> tuple[str, dict[str, str]]:
    """The metric and labels of canonical bytes. ValueError where they are not canonical."""
    metric, *pairs = key.split(b"\xff")
    if not pairs or pairs.pop() != b"":
        raise ValueError(f"series key does not end in 0xFF: {key!r}")
    labels = {}
    for pair in pairs:
        name, separator, value = pair.partition(b"\xfe")
        if not separator:
            raise ValueError(f"series key has a label without 0xFE: {key!r}")
        labels[name.decode()] = value.decode()
    return metric.decode(), labels


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that holds a series: CRC-32 of its key, modulo the number of partitions."""
    return crc32(key) % partitions


def name_fault(metric: str, labels: Mapping[str, str]) -> str | None:
    """Why this series is refused, as a sentence for who sent it; None when it is fine."""
    if not METRIC_PATTERN.match(metric):
        return f"metric {metric!r} is not a name: letters, digits, '_', ':' and '.', not starting with a digit or '.'"
    if len(metric) > MAX_METRIC_BYTES:
        return f"metric name has {len(metric)} bytes, more than {MAX_METRIC_BYTES}"
    if len(labels) > MAX_LABELS:
        return f"{len(labels)} labels, more than {MAX_LABELS}"
    for name, value in labels.items():
        if not LABEL_PATTERN.match(name):
            return f"label {name!r} is not a name: letters, digits, '_' and '.', not starting with a digit or '.'"
        if len(name) > MAX_LABEL_NAME_BYTES:
            return f"label name {name[:40]!r}... has {len(name)} bytes, more than {MAX_LABEL_NAME_BYTES}"
        if (size := len(value.encode(errors="surrogatepass"))) > MAX_LABEL_VALUE_BYTES:
            return f"label {name!r} has a value of {size} bytes, more than {MAX_LABEL_VALUE_BYTES}"
    return None
