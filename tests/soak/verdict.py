"""Whether memory is flat, from what was measured now and then. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import Final

SHARE: Final = 0.05
SLACK_MIB: Final = 3.0
"""What a heap may still find out about itself: arenas that are kept, caches that fill once."""


def flat(memory_mib: Sequence[float]) -> str:
    """Why it is not flat, empty where it is. memory_mib: at equal distances, from the time on at which everybody had come."""
    third = len(memory_mib) // 3
    if third < 3:
        return f"{len(memory_mib)} measurements are too few"
    middle, last = median(memory_mib[third : 2 * third]), median(memory_mib[2 * third :])
    most = middle * (1 + SHARE) + SLACK_MIB
    return (
        ""
        if last <= most
        else f"memory grows: {middle:.1f} MiB in the second third, {last:.1f} in the last, {most:.1f} allowed"
    )
