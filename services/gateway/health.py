"""Which part of the pipeline is away, as far as a gateway can tell. Pure: it is told what was seen and when, and judges.

One part at a time: while the feed is away nothing can be said of the rest; without an aggregator nothing of the log; and
samples can only be missed where log and aggregator are there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from services.contract.live import Part
from services.contract.views import Beat

BEATS: Final = 3  # so many beats missing, and an aggregator is away
LEAST_MS: Final = 1_300
BEAT_MS: Final = 3_000  # for the first one to come
SAMPLES_MS: Final = 3_000
SAMPLES_BUCKETS: Final = 3


@dataclass(frozen=True, slots=True)
class Freshness:
    """How new a view is. newest_end: end of its newest bucket, 0 where it has none; opened: since when it is looked at."""

    every_ms: int
    newest_end: int
    opened: int

    @property
    def limit_ms(self) -> int:
        return max(SAMPLES_MS, SAMPLES_BUCKETS * self.every_ms)


class Health:
    """What was seen of feed and aggregators. All times are this gateway's clock, so that a beat is new when it differs."""

    def __init__(self, now: int) -> None:
        self._lost_at = 0
        self._lost_reason = ""
        self._back_at = now  # of the feed; whatever depends on it is missed only some time after
        self._beats: dict[str, Beat] = {}
        self._seen: dict[str, int] = {}  # when an instance's beat last differed
        self._excused: dict[str, int] = {}  # until when an instance may not have read the log yet: it starts
        self._log_away: tuple[int, str] | None = None

    @property
    def feed_away(self) -> str:
        """Why the feed is away, empty while it is not."""
        return self._lost_reason

    def lost(self, reason: str, now: int) -> None:
        """The feed does not answer."""
        if not self._lost_reason:
            self._lost_at = now
        self._lost_reason = reason or "no answer"

    def back(self, now: int) -> None:
        """The feed answers."""
        if self._lost_reason:
            self._lost_reason, self._back_at = "", now

    def watch_again(self, now: int) -> None:
        """Nobody looked for a while, so that what was seen before says nothing."""
        self._back_at = now

    def beats(self, beats: Mapping[str, Beat], now: int) -> None:
        """Every aggregator's newest beat."""
        self._back_at = min(self._back_at, now)  # the clock may have been set back
        self._seen = {instance: min(seen, now) for instance, seen in self._seen.items()}
        self._excused = {instance: min(until, now + BEAT_MS) for instance, until in self._excused.items()}
        for instance, beat in beats.items():
            held = self._beats.get(instance)
            if held is None:
                self._seen[instance] = min(now, beat.at)
                self._excused[instance] = now + BEAT_MS
            elif held.at != beat.at:
                self._seen[instance] = now
            if beat.log_since is not None:
                self._excused[instance] = 0
        self._beats = dict(beats)
        self._seen = {instance: self._seen[instance] for instance in beats}
        self._excused = {instance: self._excused[instance] for instance in beats}
        alive = self._alive(now)
        failing = next((beat for instance, beat in alive if beat.log_since is None and now > self._excused[instance]), None)
        if failing is None:
            self._log_away = None
        else:
            since = self._log_away[0] if self._log_away else now
            self._log_away = since, failing.log_error or "Kafka does not answer"

    def parts(self, views: Iterable[Freshness], now: int) -> list[Part]:
        """What is away for a dashboard with these views; empty when all is well."""
        if self._lost_reason:
            return [Part("feed", self._lost_at, f"Redis does not answer: {self._lost_reason}")]
        if not self._alive(now):
            last = max(self._seen.values(), default=0)
            limit = max(map(_limit_ms, self._beats.values()), default=BEAT_MS)
            if now - max(last, self._back_at) <= limit:
                return []
            reason = "no aggregator gives a sign of life" if last else "no aggregator is running"
            return [Part("aggregator", last or self._back_at, reason)]
        if self._log_away:
            return [Part("log", *self._log_away)]
        return self._samples(list(views), now)

    def _alive(self, now: int) -> list[tuple[str, Beat]]:
        return [(instance, beat) for instance, beat in self._beats.items() if now - self._seen[instance] <= _limit_ms(beat)]

    def _samples(self, views: list[Freshness], now: int) -> list[Part]:
        late = [view for view in views if now - max(view.newest_end, view.opened, self._back_at) > view.limit_ms]
        if not views or len(late) < len(views):
            return []
        newest = max(view.newest_end for view in views)
        since = newest or max(view.opened for view in views)
        reason = "no samples arrive from the sources" if newest else "no samples have arrived for this dashboard"
        return [Part("samples", since, reason)]


def _limit_ms(beat: Beat) -> int:
    """How long nothing may be heard of an aggregator."""
    return max(BEATS * beat.every_ms, LEAST_MS)
