"""Limits of cardinality: how many groups a view shows apart, and how many series a partition keeps apart. Pure.

What is past a limit is not left out: it is pooled in one group, whose labels are OVERFLOW, so that the sum over all groups stays exact.
"""

from typing import Final

from services.contract.series import series_key

DEFAULT_GROUPS: Final = 2_000
MOST_GROUPS: Final = 100_000
MAX_CELLS: Final = 200_000
"""Buckets times groups of one view."""

OVERFLOW: Final = {"__overflow__": "true"}
OVERFLOW_KEY: Final = series_key("", OVERFLOW)

ROLLED_GROUPS: Final = 4

SERIES: Final = 100_000
"""Series that a selection of single series keeps apart in one partition, at most; fewer where they have many buckets (SERIES_CELLS)."""
SERIES_CELLS: Final = 4_000_000
COUNTERS: Final = 200_000
"""Counters whose last sample one partition remembers."""


def buckets(window_ms: int, every_ms: int) -> int:
    """How many buckets a window has."""
    return -(-window_ms // every_ms)


def fitting(window_ms: int, every_ms: int, wanted: int | None) -> int:
    """How many groups a view shows apart: as wanted, or as many as fit up to the default."""
    return wanted if wanted is not None else max(1, min(DEFAULT_GROUPS, MAX_CELLS // buckets(window_ms, every_ms)))


def series(kept_ms: int, every_ms: int) -> int:
    """How many series a selection keeps apart whose cells are kept for so long."""
    return max(1, min(SERIES, SERIES_CELLS // buckets(kept_ms, every_ms)))


def rolled(limit: int) -> int:
    """The limit of a coarser resolution, which is kept for longer, so that more groups come and go in it."""
    return limit * ROLLED_GROUPS
