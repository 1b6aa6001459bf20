"""What the other aggregators say of the partitions that they fold. Pure: it is told what was read and when.

A partition that is quiet may only be passed over when whoever folds it has read all of it, and is alive to say so.
"""

from collections.abc import Mapping
from typing import Final

from services.contract.views import Beat

BEAT_MS: Final = 2_500  # aggregators beat once a second


class Others:
    """Their beats. All times are this process's clock, so that a beat is new when it differs."""

    def __init__(self) -> None:
        self._beats: dict[str, Beat] = {}
        self._seen: dict[str, int] = {}

    def heard(self, beats: Mapping[str, Beat], now: int) -> None:
        """Everybody's newest beat, as it was read at epoch ms `now`."""
        changed = {name for name, beat in beats.items() if name not in self._beats or self._beats[name].at != beat.at}
        self._seen = {name: now if name in changed else self._seen[name] for name in beats}
        self._beats = dict(beats)

    def caught_up(self, partition: int, now: int) -> bool:
        """Whether somebody who is alive has folded and stored everything of a partition. Who does not say it is of a version that did not."""
        return any(
            partition in beat.partitions and (beat.caught_up is None or partition in beat.caught_up)
            for name, beat in self._beats.items()
            if now - self._seen[name] <= BEAT_MS
        )
