"""Tally: what a bridge has done since it began, for /status and /metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.ingestor import metrics
from services.ingestor.sources.decode import Decoded


@dataclass(slots=True)
class Tally:
    """rejected: samples by code, reasons: the last one of each code. withheld: dead letters beyond what is allowed. skipped: records gone unread."""

    source: str
    records: int = 0
    samples: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    poison: int = 0
    poison_reason: str = ""
    written: int = 0
    withheld: int = 0
    skipped: int = 0

    def add(self, records: int, decoded: Decoded) -> None:
        """Records whose samples are in our log now."""
        samples = len(decoded.placed.series)
        self.records += records
        self.samples += samples
        metrics.SOURCE_RECORDS.labels(self.source).inc(records)
        metrics.SOURCE_SAMPLES.labels(self.source).inc(samples)
        for code, count in decoded.faults.items():
            self.rejected[code] = self.rejected.get(code, 0) + count
            metrics.SOURCE_REJECTED.labels(self.source, code).inc(count)
        self.reasons |= decoded.reasons
        self.poison += len(decoded.poison)
        if decoded.poison:
            record, reason = decoded.poison[-1]
            self.poison_reason = f"offset {record.offset}: {reason}"

    def letters(self, written: int, withheld: int) -> None:
        self.written += written
        self.withheld += withheld
        metrics.SOURCE_DEAD_LETTERS.labels(self.source, "written").inc(written)
        metrics.SOURCE_DEAD_LETTERS.labels(self.source, "withheld").inc(withheld)

    def skip(self, records: int) -> None:
        self.skipped += records
        metrics.SOURCE_SKIPPED.labels(self.source).inc(records)

    def status(self) -> Mapping[str, object]:
        rejected = {code: {"count": count, "last": self.reasons.get(code, "")} for code, count in sorted(self.rejected.items())}
        return {
            "records": self.records,
            "samples": self.samples,
            "rejected": rejected,
            "poison": {"count": self.poison, "last": self.poison_reason},
            "dead_letters": {"written": self.written, "withheld": self.withheld},
            "skipped": self.skipped,
        }
