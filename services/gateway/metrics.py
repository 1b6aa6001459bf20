"""What a gateway counts."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.gateway.tally import Tally

_PREFIX = "tideboard_gateway"

SOCKETS = Gauge(f"{_PREFIX}_sockets", "Open WebSockets")
STREAMS = Gauge(f"{_PREFIX}_event_streams", "Open streams of server-sent events")
VIEWERS = Gauge(f"{_PREFIX}_viewers", "Subscriptions of dashboards and Plotly panels by open WebSockets")
ACCEPTED = Counter(f"{_PREFIX}_sockets_accepted_total", "WebSockets that were opened")
REFUSED = Counter(
    f"{_PREFIX}_sockets_refused_total",
    "Opening handshakes, and requests under /api/, that the door refused, and connections that were too many",
    ["status"],
)
CLOSED = Counter(
    f"{_PREFIX}_sockets_closed_total",
    "WebSockets that ended, by the code of the close; other: one that nobody has named",
    ["code"],
)
VIEWER_BYTES = Gauge(
    f"{_PREFIX}_resident_bytes_per_viewer",
    "Resident memory beyond the least that the process had without viewers, for each WebSocket and event stream; what is watched is in it",
)
WAITING = Gauge(f"{_PREFIX}_waiting_bytes", "Bytes that wait in this process for viewers that read slowly")
DRAINING = Gauge(f"{_PREFIX}_draining", "1 while everybody is sent elsewhere")
MOVED = Counter(f"{_PREFIX}_sockets_moved_total", "WebSockets that were asked to go elsewhere")
FRAMES = Counter(f"{_PREFIX}_frames_total", "Frames written to viewers", ["type"])
PAYLOAD_BYTES = Counter(f"{_PREFIX}_payload_bytes_total", "Bytes of JSON that viewers were sent, before compression")
BYTES = Counter(f"{_PREFIX}_frame_bytes_total", "Bytes of frames written to viewers, after compression")
RESUMES = Counter(f"{_PREFIX}_resumes_total", "Subscriptions with `since`, by what answered them", ["answer"])
MISSED = Counter(
    f"{_PREFIX}_frames_coalesced_total", "Frames that a viewer was not sent because the last one was still on its way"
)
CELLS = Counter(f"{_PREFIX}_cells_total", "Cells in the snapshots and deltas that were written to viewers")
COALESCED = Counter(
    f"{_PREFIX}_cells_coalesced_total",
    "Values that a viewer was not sent because newer ones of the same cells had come before its next frame",
)
PACES = Counter(
    f"{_PREFIX}_rate_changes_total",
    "Times a viewer that reads slowly (reader), or all of a gateway that is too busy (gateway), were given fewer frames, or more again",
    ["direction", "reason"],
)
TICKS = Counter(f"{_PREFIX}_ticks_total", "Ticks while somebody watched")
TICK_SECONDS = Histogram(
    f"{_PREFIX}_tick_seconds",
    "Time of one tick: composing and writing",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
)
OVERRUNS = Counter(
    f"{_PREFIX}_tick_overruns_total", "Ticks that took longer than the time between two frames of the fastest rate"
)
FAULTS = Counter(
    f"{_PREFIX}_faults_total", "Exceptions that nobody expected: of a viewer, of a dashboard, or of a whole tick", ["of"]
)
BUSY = Gauge(f"{_PREFIX}_tick_busy_ratio", "Share of the time that ticks take, lately")
THROTTLE = Gauge(
    f"{_PREFIX}_throttle_factor", "How much slower than asked all viewers are told of changes; 1 where the gateway keeps up"
)
TIERS = Gauge(
    f"{_PREFIX}_viewers_by_rate", "Subscriptions of known dashboards by frames a second; 0: paused", ["dashboard", "hz"]
)
DASHBOARDS = Gauge(f"{_PREFIX}_dashboards", "Dashboards that somebody watches here")
VIEWS = Gauge(f"{_PREFIX}_views", "Views that are subscribed")
CHANGES = Counter(f"{_PREFIX}_changes_total", "Messages of views' channels, by what became of them", ["verdict"])
READS = Counter(f"{_PREFIX}_history_reads_total", "Reads of a view's history, by why", ["why"])
RECONNECTS = Counter(f"{_PREFIX}_feed_losses_total", "Times the subscription lost Redis")
PARTS_AWAY = Gauge(f"{_PREFIX}_parts_away", "Dashboards for which a part of the pipeline is away", ["part"])
PANEL_AGE = Histogram(
    f"{_PREFIX}_panel_age_seconds",
    "From the end of the newest bucket that a watched panel shows to now; looked at once a second",
    buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300),
)
_AGES: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300)
VIEWER_FRESHNESS = Tally(
    f"{_PREFIX}_viewer_freshness_seconds",
    "From the newest sample's own time (its arrival, where the sample says a later one, and not after its bucket) in a snapshot or delta to its being written to a viewer's socket,"
    " once for each viewer",
    _AGES,
)
PANEL_FRESHNESS = Tally(
    f"{_PREFIX}_panel_freshness_seconds",
    "The same from the own time of a panel's newest sample to its being written to sockets, for each panel once a message that shows something new of it",
    _AGES,
)
HANDSHAKES = Histogram(
    f"{_PREFIX}_handshake_seconds",
    "From a connection to the WebSocket that it becomes",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
DELAY = Histogram(
    f"{_PREFIX}_delay_seconds",
    "From a record's arrival at the ingestor to the frame that shows it being written to sockets",
    buckets=(0.01, 0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10),
)
GC_PAUSE = Histogram(
    f"{_PREFIX}_gc_pause_seconds",
    "Time of one run of Python's garbage collector, by the oldest generation that it looked at",
    ["generation"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
)
