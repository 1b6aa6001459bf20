"""Settings of the collector."""

from dataclasses import dataclass

from services.runtime.settings import setting


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """What is measured how often, and where it is posted."""

    url: str = setting("http://127.0.0.1:8081/api/v1/samples", "TIDEBOARD_COLLECTOR_URL", "Where measurements are posted")
    host: str = setting("", "TIDEBOARD_COLLECTOR_HOST", "The label host of all measurements; empty: the name of this machine")
    machine: bool = setting(
        True, "TIDEBOARD_COLLECTOR_MACHINE", "Whether this machine is measured; without that only what SCRAPE names is read"
    )
    interval_ms: int = setting(
        250, "TIDEBOARD_COLLECTOR_INTERVAL_MS", "How often this machine is measured", "ms", between=(50, 60_000)
    )
    processes: int = setting(
        10,
        "TIDEBOARD_COLLECTOR_PROCESSES",
        "How many processes are shown: the busiest by CPU, and as many by memory",
        between=(0, 1000),
    )
    scrape: tuple[str, ...] = setting(
        (),
        "TIDEBOARD_COLLECTOR_SCRAPE",
        "Prometheus endpoints of Tideboard's own services, which are read and posted as well: service=url, comma separated. "
        "service=dns+http://... reads each address that the host's name has",
    )
    scrape_ms: int = setting(2000, "TIDEBOARD_COLLECTOR_SCRAPE_MS", "How often these are read", "ms", between=(100, 600_000))
    buffer_samples: int = setting(
        200_000,
        "TIDEBOARD_COLLECTOR_BUFFER_SAMPLES",
        "How many samples are kept while the ingestor is away; the oldest are dropped. 200,000 are about five minutes, 30 MB",
    )
    gzip: bool = setting(
        False, "TIDEBOARD_COLLECTOR_GZIP", "Compress what is posted. Worth its CPU when the ingestor is on another machine"
    )
