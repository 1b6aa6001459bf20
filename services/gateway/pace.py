"""What a viewer that cannot read fast enough is given: fewer frames, until it keeps up, and more again once it has for a while. Pure."""

from typing import Final

from services.gateway.rates import RATES, above, below, rate_of

LOOK_MS: Final = 2_000  # so long is looked at before the rate is lowered
MISSES: Final = 0.4  # of its frames in that time
CALM_MS: Final = 5_000  # without a miss before a faster rate is tried
LONGEST_CALM_MS: Final = 160_000


class Pace:
    """One viewer of one dashboard since it missed a frame. wish: the rate that it asked for; hz: what it is given."""

    __slots__ = ("_calm_ms", "_misses", "_raised_at", "_since", "_still_since", "hz", "wish")

    def __init__(self, wish: int, now: int) -> None:
        self.wish = self.hz = wish
        self._calm_ms = CALM_MS
        self._raised_at = 0
        self.begin(now)

    @property
    def reduced(self) -> bool:
        return self.hz < self.wish

    def missed(self, now: int) -> None:
        """One of its frames could not be written, as the last one is still on its way."""
        self._still_since = now
        self._misses += 1

    def judge(self, now: int, every_ms: float) -> bool:
        """Whether its rate is another one now. every_ms: time between two of its frames."""
        if now - self._since >= max(LOOK_MS, 2 * every_ms):
            frames = (now - self._since) / every_ms
            kept = max(0.0, frames - self._misses)
            if self._misses >= 2 and self._misses >= MISSES * frames and self.hz > RATES[-1]:
                self._lower(min(below(self.hz), rate_of(max(kept * 1_000 / (now - self._since), RATES[-1]))), now)
                return True
            self.begin(now, still_since=self._still_since)
        if self.reduced and now - self._still_since >= self._calm_ms:
            self.hz = min(above(self.hz), self.wish)
            self._raised_at = now
            self.begin(now)
            return True
        return False

    def over(self, now: int) -> bool:
        """It has kept up with what it asked for, long enough to forget that it ever did not."""
        return not self.reduced and now - self._still_since >= self._calm_ms

    def _lower(self, hz: int, now: int) -> None:
        failed = self._raised_at and now - self._raised_at < self._calm_ms
        self._calm_ms = min(self._calm_ms * 2, LONGEST_CALM_MS) if failed else CALM_MS
        self.hz = hz
        self.begin(now)

    def begin(self, now: int, still_since: int | None = None) -> None:
        """Look at it from now on. still_since: since when it has missed nothing, if that is not now."""
        self._since, self._misses = now, 0
        self._still_since = now if still_since is None else still_since
