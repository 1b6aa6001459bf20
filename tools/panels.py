"""The panels of the chart's Grafana dashboard: what is drawn, from which metrics. How they become Grafana's JSON is in `grafana`.

In expressions {%} stands for the labels of one release.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Panel:
    """A graph, or with `tile` a single number. queries: (legend, expression). above: from which value on it has another color. width: of 24 columns."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    about: str = ""
    tile: bool = False
    width: int = 8
    above: Sequence[tuple[float, str]] = ()
    stack: bool = False


@dataclass(frozen=True)
class Row:
    title: str
    panels: Sequence[Panel]


def rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{%}}[$__rate_interval]))"


def quantile(metric: str, at: float, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({at}, sum by ({labels}) (rate({metric}_bucket{{%}}[$__rate_interval])))"


def quantiles(metric: str) -> Sequence[tuple[str, str]]:
    return [("median", quantile(metric, 0.5)), ("99 of 100", quantile(metric, 0.99))]


def tile(title: str, expression: str, unit: str = "short", above: Sequence[tuple[float, str]] = (), about: str = "") -> Panel:
    return Panel(title, [("", expression)], unit, about, tile=True, width=4, above=above)


ROWS: Final = (
    Row(
        "At a glance",
        [
            tile("Viewers", "sum(tideboard_gateway_sockets{%}) + sum(tideboard_gateway_event_streams{%})"),
            tile("Samples accepted", "sum(rate(tideboard_ingestor_samples_total{%}[$__rate_interval]))", "cps"),
            tile("Lag", "sum(tideboard_aggregator_lag_records{%})", above=[(1000, "orange"), (10000, "red")],
                 about="Records of the log that are not committed yet"),
            tile("Arrival to frame", quantile("tideboard_gateway_delay_seconds", 0.99), "s", [(1, "orange"), (3, "red")],
                 "99 of 100 records take at most this long from the ingestor to viewers' sockets"),
            tile("Redis", "max(tideboard_aggregator_feed_bytes{%} / (tideboard_aggregator_feed_budget_bytes{%} > 0))",
                 "percentunit", [(0.7, "orange"), (0.9, "red")], "Of the memory that it may use; empty where no limit is known"),
            tile("Alerts", 'count(ALERTS{alertname=~"Tideboard.*",alertstate="firing",namespace="$namespace"}) or vector(0)',
                 above=[(1, "red")]),
        ],
    ),
    Row(
        "What viewers see",
        [
            Panel("Viewers by gateway", [("{{pod}}", "sum by (pod) (tideboard_gateway_sockets{%})")], stack=True),
            Panel("Age of watched panels", quantiles("tideboard_gateway_panel_age_seconds"), "s",
                  "From the end of the newest bucket that a panel shows to now"),
            Panel("Arrival to frame", quantiles("tideboard_gateway_delay_seconds"), "s"),
            Panel("Newest sample to a viewer's socket", quantiles("tideboard_gateway_viewer_freshness_seconds"), "s",
                  "Once for each viewer and frame that shows something new"),
            Panel("Newest sample of a panel to sockets", quantiles("tideboard_gateway_panel_freshness_seconds"), "s"),
            Panel("Parts away", [("{{part}}", "max by (part) (tideboard_gateway_parts_away{%})")],
                  about="Watched dashboards for which a part of the pipeline is away"),
            Panel("Viewers by rate", [("{{hz}} a second", "sum by (hz) (tideboard_gateway_viewers_by_rate{%})")], stack=True),
            Panel("Viewers by dashboard",
                  [("{{dashboard}}", "topk(10, sum by (dashboard) (tideboard_gateway_viewers_by_rate{%}))")]),
            Panel("Rates changed", [("{{direction}}, {{reason}}", rate("tideboard_gateway_rate_changes_total", "direction, reason"))],
                  "cps", "reader: of a viewer that is slow; gateway: of all viewers of one that is busy"),
            Panel("Sockets closed", [("{{code}}", rate("tideboard_gateway_sockets_closed_total", "code"))], "cps",
                  "By the code of the close; 4001 and 4002: the viewer took nothing any more"),
            Panel("Refused", [("{{status}}", rate("tideboard_gateway_sockets_refused_total", "status"))], "reqps"),
        ],
    ),
    Row(
        "Gateways",
        [
            Panel("Time that ticks take", [("{{pod}}", "max by (pod) (tideboard_gateway_tick_busy_ratio{%})")], "percentunit",
                  "Above 70 % a gateway takes no new viewers, above 85 % all of its viewers are slowed down",
                  above=[(0.7, "orange"), (0.85, "red")]),
            Panel("Length of a tick, 99 of 100", [("{{pod}}", quantile("tideboard_gateway_tick_seconds", 0.99, "pod"))], "s"),
            Panel("Slowed down", [("{{pod}}", "max by (pod) (tideboard_gateway_throttle_factor{%})")],
                  about="How many times slower than asked all viewers of a gateway are told of changes"),
            Panel("Frames", [("{{type}}", rate("tideboard_gateway_frames_total", "type"))], "cps"),
            Panel("Bytes to viewers", [
                ("on the wire", "sum(rate(tideboard_gateway_frame_bytes_total{%}[$__rate_interval]))"),
                ("before compression", "sum(rate(tideboard_gateway_payload_bytes_total{%}[$__rate_interval]))"),
            ], "Bps"),
            Panel("Cells", [
                ("written", "sum(rate(tideboard_gateway_cells_total{%}[$__rate_interval]))"),
                ("merged before they were sent", "sum(rate(tideboard_gateway_cells_coalesced_total{%}[$__rate_interval]))"),
            ], "cps"),
            Panel("Memory for a viewer", [("{{pod}}", "max by (pod) (tideboard_gateway_resident_bytes_per_viewer{%})")], "bytes"),
            Panel("Waiting for slow viewers", [("{{pod}}", "sum by (pod) (tideboard_gateway_waiting_bytes{%})")], "bytes"),
            Panel("Frames merged for slow viewers", [("{{pod}}", rate("tideboard_gateway_frames_coalesced_total", "pod"))], "cps"),
            Panel("Sockets opened, and asked to move", [
                ("opened", "sum(rate(tideboard_gateway_sockets_accepted_total{%}[$__rate_interval]))"),
                ("asked to move", "sum(rate(tideboard_gateway_sockets_moved_total{%}[$__rate_interval]))"),
            ], "cps"),
            Panel("Resumes", [("{{answer}}", rate("tideboard_gateway_resumes_total", "answer"))], "cps",
                  "Viewers that came back, by what they were sent: what had changed, or all of it"),
            Panel("Reads of history", [("{{why}}", rate("tideboard_gateway_history_reads_total", "why"))], "cps"),
            Panel("Handshake, 99 of 100", [("{{pod}}", quantile("tideboard_gateway_handshake_seconds", 0.99, "pod"))], "s"),
            Panel("Garbage collector's pauses, 99 of 100",
                  [("generation {{generation}}", quantile("tideboard_gateway_gc_pause_seconds", 0.99, "generation"))], "s"),
            Panel("Faults of a gateway's own", [("{{of}}", rate("tideboard_gateway_faults_total", "of"))], "cps",
                  "Failures inside a tick, after which it goes on; its log has a trace of each kind"),
            Panel("Redis lost", [("{{pod}}", "sum by (pod) (increase(tideboard_gateway_feed_losses_total{%}[$__rate_interval]))")]),
        ],
    ),
    Row(
        "Aggregators",
        [
            Panel("Samples folded", [("{{pod}}", rate("tideboard_aggregator_samples_total", "pod"))], "cps", stack=True),
            Panel("Lag by partition", [("{{partition}}", "max by (partition) (tideboard_aggregator_partition_lag_records{%})")]),
            Panel("Partitions", [
                ("{{pod}}", "sum by (pod) (tideboard_aggregator_partitions{%})"),
                ("of the log", "max(tideboard_aggregator_log_partitions{%})"),
            ]),
            Panel("Commits", [
                ("folds {{outcome}}", rate("tideboard_aggregator_commits_total", "outcome")),
                ("merges {{outcome}}", rate("tideboard_aggregator_view_commits_total", "outcome")),
            ], "cps", "refused: something else lay in Redis, as another was there first"),
            Panel("A round of commits", quantiles("tideboard_aggregator_commit_seconds"), "s"),
            Panel("Arrival to publication", quantiles("tideboard_aggregator_delay_seconds"), "s"),
            Panel("Buckets are closed behind now",
                  [("{{pod}}", "max by (pod) (tideboard_aggregator_watermark_delay_seconds{%})")], "s"),
            Panel("Views and groups", [
                ("views", "sum(tideboard_aggregator_views{%})"),
                ("groups", "sum(tideboard_aggregator_groups{%})"),
                ("cells a second", "sum(rate(tideboard_aggregator_cells_total{%}[$__rate_interval]))"),
            ]),
            Panel("Not shown apart", [
                ("groups pooled", "sum(tideboard_aggregator_pooled_groups{%})"),
                ("series left out", "sum(tideboard_aggregator_left_out_series{%})"),
            ]),
            Panel("Late samples", [
                ("{{source}}, {{reason}}", rate("tideboard_aggregator_late_samples_total", "source, reason")),
                ("not written: {{why}}", rate("tideboard_aggregator_late_samples_not_written_total", "why")),
            ], "cps"),
            Panel("Records that cannot be read", [
                ("of our log", "sum(rate(tideboard_aggregator_poison_records_total{%}[$__rate_interval]))"),
                ("letters {{outcome}}", rate("tideboard_aggregator_dead_letters_total", "outcome")),
            ], "cps"),
            Panel("Garbage collector's pauses, 99 of 100",
                  [("generation {{generation}}", quantile("tideboard_aggregator_gc_pause_seconds", 0.99, "generation"))], "s"),
            Panel("Samples of counters left out", [
                ("not counters", "sum(rate(tideboard_aggregator_not_counter_samples_total{%}[$__rate_interval]))"),
                ("out of order", "sum(rate(tideboard_aggregator_disordered_counter_samples_total{%}[$__rate_interval]))"),
                ("of another writer", "sum(rate(tideboard_aggregator_contested_counter_samples_total{%}[$__rate_interval]))"),
            ], "cps"),
            Panel("Memory of Redis", [
                ("used", "max(tideboard_aggregator_feed_bytes{%})"),
                ("may use", "max(tideboard_aggregator_feed_budget_bytes{%})"),
            ], "bytes", width=12),
            Panel("Coarse data is kept at most", [("", "max(tideboard_aggregator_coarse_cap_seconds{%})")], "s",
                  "0: for as long as dashboards say; otherwise Redis was too full", width=12),
        ],
    ),
    Row(
        "Intake",
        [
            Panel("Requests", [("{{status}}", rate("tideboard_ingestor_requests_total", "status"))], "reqps"),
            Panel("Length of a request", quantiles("tideboard_ingestor_request_seconds"), "s"),
            Panel("Samples refused", [
                ("{{reason}}", rate("tideboard_ingestor_rejected_samples_total", "reason")),
                ("{{source}}: {{reason}}", rate("tideboard_ingestor_source_rejected_samples_total", "source, reason")),
            ], "cps"),
            Panel("Waiting for Kafka", [("{{pod}}", "sum by (pod) (tideboard_ingestor_waiting_bytes{%})")], "bytes"),
            Panel("Kafka takes records", [("{{pod}}", "min by (pod) (tideboard_ingestor_log_up_ratio{%})")], "percentunit"),
            Panel("Records and bytes to Kafka", [
                ("records", "sum(rate(tideboard_ingestor_records_total{%}[$__rate_interval]))"),
                ("KiB", "sum(rate(tideboard_ingestor_record_bytes_total{%}[$__rate_interval])) / 1024"),
            ], "cps"),
            Panel("Lag of sources", [("{{source}}", "sum by (source) (tideboard_ingestor_source_lag_records{%})")]),
            Panel("Samples of sources", [("{{source}}", rate("tideboard_ingestor_source_samples_total", "source"))], "cps"),
            Panel("Records of sources left out", [
                ("{{source}}: {{outcome}}", rate("tideboard_ingestor_source_dead_letters_total", "source, outcome")),
                ("{{source}}: deleted before", rate("tideboard_ingestor_source_skipped_records_total", "source")),
            ], "cps"),
            Panel("Collectors", [
                ("{{pod}} waiting", "sum by (pod) (tideboard_collector_buffered_samples{%})"),
                ("{{pod}} dropped", "sum by (pod) (tideboard_collector_dropped_samples{%})"),
            ], width=24),
        ],
    ),
    Row(
        "Operator",
        [
            Panel("Dashboards and Sources", [("{{kind}} {{reason}}", "max by (kind, reason) (tideboard_operator_resources{%})")]),
            Panel("Writes", [
                ("registry: {{kind}} {{outcome}}", rate("tideboard_operator_registry_writes_total", "kind, outcome")),
                ("status: {{kind}} {{outcome}}", rate("tideboard_operator_statuses_total", "kind, outcome")),
            ], "cps"),
            Panel("Away", [
                ("API server", "max(tideboard_operator_api_server_away{%})"),
                ("registry: {{kind}}", "max by (kind) (tideboard_operator_registry_away{%})"),
            ]),
        ],
    ),
    Row(
        "Processes",
        [
            Panel("CPU", [("{{pod}}", "sum by (pod) (rate(process_cpu_seconds_total{%}[$__rate_interval]))")],
                  "percentunit", "Shares of one core", width=12),
            Panel("Resident memory", [("{{pod}}", "sum by (pod) (process_resident_memory_bytes{%})")], "bytes", width=12),
        ],
    ),
)  # fmt: skip
