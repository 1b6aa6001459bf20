"""Metrics of the ingestor."""

from prometheus_client import Counter, Gauge, Histogram

SAMPLES = Counter("tideboard_ingestor_samples_total", "Samples accepted: the log has acknowledged them.")
REJECTED = Counter("tideboard_ingestor_rejected_samples_total", "Samples refused, by what was wrong with them.", ["reason"])
REQUESTS = Counter("tideboard_ingestor_requests_total", "Requests answered, by HTTP status.", ["status"])
REQUEST_SECONDS = Histogram(
    "tideboard_ingestor_request_seconds",
    "Time from a request's head to its answer.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5, 15),
)
BODY_BYTES = Counter("tideboard_ingestor_body_bytes_total", "Bytes of bodies received, as they were sent.")
RECORDS = Counter("tideboard_ingestor_records_total", "Records that the log has acknowledged.")
RECORD_BYTES = Counter("tideboard_ingestor_record_bytes_total", "Bytes of these records, before the log's compression.")
WAITING_BYTES = Gauge("tideboard_ingestor_waiting_bytes", "Bytes that wait to be read or to be acknowledged by the log.")
WAITING_RECORDS = Gauge("tideboard_ingestor_waiting_records", "Records that wait to be acknowledged by the log.")
LOG_ERRORS = Counter("tideboard_ingestor_log_errors_total", "Times that the log was lost or refused something.")
LOG_UP = Gauge("tideboard_ingestor_log_up_ratio", "1 while the log accepts, else 0.")
SERIES = Gauge("tideboard_ingestor_known_series", "Series known by their bytes.")

SOURCE_RECORDS = Counter(
    "tideboard_ingestor_source_records_total", "Records of other topics whose samples the log has acknowledged.", ["source"]
)
SOURCE_SAMPLES = Counter("tideboard_ingestor_source_samples_total", "Samples taken out of these records.", ["source"])
SOURCE_REJECTED = Counter(
    "tideboard_ingestor_source_rejected_samples_total",
    "Samples of sources refused, by what was wrong with them.",
    ["source", "reason"],
)
SOURCE_DEAD_LETTERS = Counter(
    "tideboard_ingestor_source_dead_letters_total",
    "Records that could not be read: written to the dead-letter topic, or withheld since there were too many.",
    ["source", "outcome"],
)
SOURCE_SKIPPED = Counter(
    "tideboard_ingestor_source_skipped_records_total", "Records that were deleted before they were read.", ["source"]
)
SOURCE_LAG = Gauge(
    "tideboard_ingestor_source_lag_records", "Records of a topic that are not in the log yet.", ["source", "partition"]
)
