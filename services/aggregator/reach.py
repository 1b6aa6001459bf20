"""Whether the log answers, as it is known here and as others are told. Pure: it is told what was seen and when."""

from typing import Final

GRACE_MS: Final = 800
"""An absence this short is told nobody: a broker that is replaced, or a partition that gets another leader, is no news for viewers."""


class Reach:
    """error: why the log does not answer, empty while it does. All times are epoch milliseconds."""

    def __init__(self) -> None:
        self.error = "not read yet"
        self._since: int | None = None
        self._away_at: int | None = None

    def away(self, reason: str, now: int) -> None:
        """It did not answer."""
        if not self.error:
            self._away_at = now
        self.error = reason

    def back(self, now: int) -> bool:
        """It answered. Returns whether that is new."""
        if not self.error:
            return False
        if self._since is None or self._told_away(now):
            self._since = now
        self.error, self._away_at = "", None
        return True

    def told(self, now: int) -> tuple[int | None, str]:
        """Since when it answers, None while it does not, and why: what a beat says."""
        if self.error and self._told_away(now):
            return None, self.error
        return self._since, ""

    def _told_away(self, now: int) -> bool:
        return self._away_at is None or now - self._away_at > GRACE_MS
