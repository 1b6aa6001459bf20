"""Lingering: views that no dashboard asks for any more while somebody still looks at them, as at a query until its successor is filled. Pure.

They are folded and merged as before, so that what viewers see stays live. An aggregator that starts meanwhile does not know of them: until viewers
are switched, they see such a view as it was.
"""

from collections.abc import Collection, Mapping
from typing import Final

from services.contract.views import View

LINGER_S: Final = 75.0
"""How long a view lingers at most: a little longer than gateways wait for the next one to be filled."""

Views = Mapping[str, tuple[View, int]]


class Lingering:
    """views: as `wanted.Wanted` has them."""

    def __init__(self) -> None:
        self.views: dict[str, tuple[View, int]] = {}
        self._until: dict[str, float] = {}

    def leave(self, before: Views, asked: Views, now: float) -> None:
        """Dashboards ask for other views than before. now: seconds."""
        for view_id in self.views.keys() & asked.keys():
            self._drop(view_id)
        for view_id in before.keys() - asked.keys() - self.views.keys():
            self.views[view_id], self._until[view_id] = before[view_id], now + LINGER_S

    def keep(self, watched: Collection[str], now: float) -> bool:
        """Let go of those that nobody watches, and of those that have lingered for too long; whether there were any."""
        gone = [view_id for view_id, until in self._until.items() if view_id not in watched or now >= until]
        for view_id in gone:
            self._drop(view_id)
        return bool(gone)

    def _drop(self, view_id: str) -> None:
        del self.views[view_id], self._until[view_id]
