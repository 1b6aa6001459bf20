"""Whether the log keeps its records for long enough. Pure; who asks the log is `service`.

What is lost with Redis is folded again from the log, and after an outage the log still has to hold what was not folded. So it must reach back over what
dashboards show at their own resolution, what counters look back, and the longest outage that is allowed for.
"""

from dataclasses import dataclass
from typing import Final

from services.aggregator.asked import LOOKBACK_MS
from services.aggregator.wanted import sampled
from services.contract.partials import Config

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """refusal, warning: sentences with the numbers; empty where all is well."""

    refusal: str = ""
    warning: str = ""


def judge(retention_ms: int | None, config: Config, outage_ms: int) -> Verdict:
    """retention_ms: of the samples topic; negative: for ever, None: not known, of which nothing can be said."""
    if retention_ms is None or retention_ms < 0:
        return Verdict()
    own, whole = horizon_ms(sampled(config)), horizon_ms(config)
    has = f"topic tideboard.samples keeps records for {shown(retention_ms)} (retention.ms={retention_ms})"
    if retention_ms < own + outage_ms:
        return Verdict(
            f"{has}, and dashboards need {shown(own)} and an outage {shown(outage_ms)} more: set retention.ms to {own + outage_ms} or more, "
            "or lower TIDEBOARD_AGGREGATOR_OUTAGE_MS"
        )
    if retention_ms < whole + outage_ms:
        return Verdict(
            warning=f"{has}; coarser resolutions reach back {shown(whole)}. They are kept in Redis: only what was lost with Redis "
            "comes back no further than the log reaches"
        )
    return Verdict()


def horizon_ms(config: Config) -> int:
    """How far back the log is read to fold these selections anew."""
    return max((config.retentions[name] + item.every_ms for name, item in config.selections.items()), default=0) + LOOKBACK_MS


def shown(ms: int) -> str:
    """A duration for a person: its two largest units."""
    parts = []
    for size, unit in _UNITS:
        if ms >= size:
            parts.append(f"{ms // size} {unit}")
            ms %= size
    return " ".join(parts[:2]) or f"{ms} ms"
