"""The watchdog: which partitions make no progress though the log has more of them. Pure; what is done about it is `folding`'s business."""

from collections.abc import Mapping
from typing import Final

PATIENCE_S: Final = 5.0


class Watchdog:
    """Told now and then where each partition stands. now: seconds of any clock that only grows."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._since: dict[int, tuple[int, float]] = {}  # partition -> offset, since when it has stood there with more to read

    def stuck(self, now: float, standing: Mapping[int, tuple[int, int]]) -> list[int]:
        """standing: partition -> (offset that is read next, end of its log). Who has not moved for as long as patience lasts, though behind."""
        since: dict[int, tuple[int, float]] = {}
        for partition, (offset, end) in standing.items():
            if offset < end:
                held = self._since.get(partition, (-1, now))
                since[partition] = held if held[0] == offset else (offset, now)
        self._since = since
        return sorted(partition for partition, (_, at) in since.items() if now - at >= self._patience_s)

    def forget(self) -> None:
        """Something was done, or the log cannot be read at all: patience begins anew."""
        self._since.clear()
