"""Metrics of the aggregator."""

from prometheus_client import Counter, Gauge, Histogram

SAMPLES = Counter("tideboard_aggregator_samples_total", "Samples folded.")
RECORDS = Counter("tideboard_aggregator_records_total", "Records of the log read.")
DUPLICATES = Counter("tideboard_aggregator_duplicate_records_total", "Records passed over because they were folded before.")
LATE = Counter(
    "tideboard_aggregator_late_samples_total",
    "Samples that came after their cells had been dropped: of every selection that asks for them (expired), or of some.",
    ["source", "reason"],
)
LATE_NOT_WRITTEN = Counter(
    "tideboard_aggregator_late_samples_not_written_total",
    "Late samples that are not in the late topic: there were too many (rate, fold), or it could not be written (log).",
    ["why"],
)
POISON = Counter("tideboard_aggregator_poison_records_total", "Records that could not be read.")
DEAD_LETTERS = Counter(
    "tideboard_aggregator_dead_letters_total",
    "Records that could not be read, by what became of their dead letter: written, withheld (too many), or lost (the topic could not be written).",
    ["outcome"],
)
NOT_COUNTERS = Counter(
    "tideboard_aggregator_not_counter_samples_total",
    "Gauges and observations that a rate or increase asked for and cannot use.",
)
DISORDERED = Counter(
    "tideboard_aggregator_disordered_counter_samples_total",
    "Samples of counters that were not newer than the one before, and are left out.",
)
CONTESTED = Counter(
    "tideboard_aggregator_contested_counter_samples_total",
    "Samples of counters that are left out because another writer of the same series is followed.",
)
COMMITS = Counter("tideboard_aggregator_commits_total", "Commits of folds.", ["outcome"])
COMMIT_SECONDS = Histogram(
    "tideboard_aggregator_commit_seconds",
    "Time from the start of a round of commits to the last answer.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
)
VIEW_COMMITS = Counter("tideboard_aggregator_view_commits_total", "Commits of merges.", ["outcome"])
CELLS = Counter("tideboard_aggregator_cells_total", "Cells of views written.")
DELAY_SECONDS = Histogram(
    "tideboard_aggregator_delay_seconds",
    "Time from the ingest of the newest sample of a commit to its publication.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30),
)
LAG = Gauge("tideboard_aggregator_lag_records", "Records in the log that are not committed yet.")
PARTITIONS = Gauge("tideboard_aggregator_partitions", "Partitions folded here.")
LOG_PARTITIONS = Gauge("tideboard_aggregator_log_partitions", "Partitions of the log, whoever folds them.")
VIEWS = Gauge("tideboard_aggregator_views", "Views merged here.")
GROUPS = Gauge("tideboard_aggregator_groups", "Groups of all views merged here.")
READERS_REPLACED = Counter(
    "tideboard_aggregator_readers_replaced_total",
    "Readers of the log that made no progress though it had more, and were replaced.",
)
PARTITION_LAG = Gauge(
    "tideboard_aggregator_partition_lag_records", "Records of a partition that are not committed yet.", ["partition"]
)
WATERMARK_DELAY_SECONDS = Gauge("tideboard_aggregator_watermark_delay_seconds", "How far behind now buckets are closed.")
FEED_BYTES = Gauge("tideboard_aggregator_feed_bytes", "Memory that Redis uses.")
FEED_BUDGET_BYTES = Gauge("tideboard_aggregator_feed_budget_bytes", "Memory that Redis may use; 0: no limit is known.")
COARSE_CAP_SECONDS = Gauge(
    "tideboard_aggregator_coarse_cap_seconds",
    "For how long coarse data is kept at most since Redis is short of memory; 0: for as long as dashboards say.",
)
POOLED = Gauge("tideboard_aggregator_pooled_groups", "Groups past the limit, pooled in __overflow__, of all views merged here.")
LEFT_OUT = Gauge("tideboard_aggregator_left_out_series", "Series that are too many to be followed, of all views merged here.")
GC_PAUSE = Histogram(
    "tideboard_aggregator_gc_pause_seconds",
    "Time of one run of Python's garbage collector, by the oldest generation that it looked at",
    ["generation"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
)
