"""Metrics of the collector."""

from prometheus_client import Counter, Gauge

SAMPLES = Counter("tideboard_collector_samples_total", "Samples that the ingestor has accepted.")
REFUSED = Counter("tideboard_collector_refused_samples_total", "Samples that the ingestor has refused for good.")
POSTS = Counter("tideboard_collector_posts_total", "Posts, by what became of them.", ["outcome"])
BUFFERED = Gauge("tideboard_collector_buffered_samples", "Samples that wait to be posted.")
DROPPED = Gauge("tideboard_collector_dropped_samples", "Samples dropped so far because the ingestor was away for too long.")
SCAN_SECONDS = Gauge("tideboard_collector_scan_seconds", "CPU time that the last look at all processes took.")
SCRAPES = Counter("tideboard_collector_scrapes_total", "Reads of other services' metrics.", ["service", "outcome"])
