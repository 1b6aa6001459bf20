"""Metrics of the operator."""

from prometheus_client import Counter, Gauge

RESOURCES = Gauge("tideboard_operator_resources", "Custom resources, by what was said of them last.", ["kind", "reason"])
WRITES = Counter(
    "tideboard_operator_registry_writes_total", "Changes of the registry, by whether it took them.", ["kind", "outcome"]
)
STATUSES = Counter(
    "tideboard_operator_statuses_total", "Statuses written, by what the API server answered.", ["kind", "outcome"]
)
EVENTS = Counter("tideboard_operator_events_total", "Events posted.", ["kind", "reason"])
LISTED = Counter("tideboard_operator_listed_changes_total", "Changes that a list brought and the watch had not: more than a few mean a broken watch.", ["kind"])  # fmt: skip
LISTS = Counter("tideboard_operator_lists_total", "Times that everything was listed, by what became of it.", ["outcome"])
WATCHES = Counter("tideboard_operator_watches_started_total", "Times that watching began, the first one included.")
REGISTRY_AWAY = Gauge("tideboard_operator_registry_away", "1 while the registry does not answer.", ["kind"])
API_AWAY = Gauge("tideboard_operator_api_server_away", "1 while the API server does not answer, or refuses.")
