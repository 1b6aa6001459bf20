"""What a gateway shows of its dashboards and viewers to those who run it: metrics, and /status for a person."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from services.contract.registry import Entry
from services.gateway import metrics
from services.gateway.rates import PAUSED, RATES
from services.gateway.stage import Stage
from services.gateway.streams import PanelStream

EVERY_MS: Final = 1_000
SLOWEST: Final = 20  # of all viewers are named
PARTS: Final = ("feed", "aggregator", "log", "samples")


class Gauges:
    """The metrics that say how things are. Set now and then, as they are looked at."""

    def __init__(self) -> None:
        self._set_at = 0
        self._named: set[str] = set()

    def set(self, stages: Collection[Stage], streams: Iterable[PanelStream], now: int) -> None:
        """Once in EVERY_MS, however often it is called; and when nothing is watched any more, as nobody calls it then."""
        if stages and 0 <= now - self._set_at < EVERY_MS:
            return
        self._set_at = now
        metrics.DASHBOARDS.set(len(stages))
        metrics.VIEWERS.set(sum(len(stage.audience) for stage in stages) + sum(len(stream.viewers) for stream in streams))
        # Names that nobody knows are what viewers make up: they are not worth a time series.
        known = {stage.name: stage for stage in stages if stage.entry}
        for name in self._named - known.keys():
            for hz in (*RATES, PAUSED):
                metrics.TIERS.remove(name, str(hz))
        self._named = set(known)
        for name, stage in known.items():
            for hz, tier in stage.audience.tiers.items():
                metrics.TIERS.labels(name, str(hz)).set(len(tier))
            for age_ms in stage.ages(now).values():
                metrics.PANEL_AGE.observe(age_ms / 1_000)
        away = [part.part for stage in stages for part in stage.parts]
        for part in PARTS:
            metrics.PARTS_AWAY.labels(part).set(away.count(part))


def dashboards(stages: Iterable[Stage], now: int) -> dict[str, Any]:
    """Every dashboard that somebody watches, those with the most viewers first. lag_ms: since its newest change."""
    return {
        stage.name: {
            "viewers": len(stage.audience),
            "rates": {str(hz): len(tier) for hz, tier in stage.audience.tiers.items() if len(tier)},
            "slow": len(stage.audience.slow),
            "ready": stage.ready,
            "epoch": stage.picture.epoch if stage.picture else None,
            "lag_ms": _lag_ms(stage, now),
            "versions": {held.view: held.state.version for held in stage.held},
            "away": [{"part": part.part, "since": part.since, "reason": part.reason} for part in stage.parts],
        }
        for stage in sorted(stages, key=lambda stage: -len(stage.audience))
    }


def slowest(stages: Iterable[Stage], now: int) -> list[dict[str, Any]]:
    """Viewers that have missed frames lately, the furthest behind first. behind_ms: how old the newest change is that it has."""
    found: list[dict[str, Any]] = [
        {
            "dashboard": stage.name,
            "address": getattr(viewer, "address", ""),
            "hz": pace.hz,
            "wished": pace.wish,
            "clogged": viewer.clogged,
            "behind_ms": stage.audience.behind_ms(viewer, now),
        }
        for stage in stages
        for viewer, pace in stage.audience.slow.items()
    ]
    return sorted(found, key=lambda one: -one["behind_ms"])[:SLOWEST]


def registry(entries: Mapping[str, Entry] | None) -> dict[str, Any] | None:
    """What the registry says of each dashboard."""
    return None if entries is None else {name: _described(entry) for name, entry in entries.items()}


def _described(entry: Entry) -> dict[str, Any]:
    return {"revision": entry.revision, "source": entry.source, "fault": entry.fault.reason if entry.fault else None}


def _lag_ms(stage: Stage, now: int) -> int | None:
    """Versions are the microseconds at which they were made."""
    newest = max((held.state.version for held in stage.held), default=0)
    return max(0, now - newest // 1_000) if newest else None
