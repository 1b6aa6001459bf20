"""Settings of the target `all`."""

from dataclasses import dataclass
from pathlib import Path

from services.runtime.settings import PORT, setting


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """The embedded servers and the folder of dashboards. Everything else `all` hands on to the services that it starts."""

    dashboards: Path = setting(Path("dashboards"), "TIDEBOARD_DASHBOARDS", "Folder whose YAML files are the dashboards")
    valkey_port: int = setting(
        0,
        "TIDEBOARD_LOCAL_VALKEY_PORT",
        "Port of the embedded Valkey; 0: a free one. Not started where REDIS_URL is set",
        between=PORT,
    )
    broker_port: int = setting(
        0,
        "TIDEBOARD_LOCAL_BROKER_PORT",
        "Port of the embedded broker; 0: a free one. Not started where KAFKA_BOOTSTRAP_SERVERS is set",
        between=PORT,
    )
    broker_memory_mb: int = setting(
        512,
        "TIDEBOARD_LOCAL_BROKER_MEMORY_MB",
        "The embedded broker forgets nothing; past this it is replaced by an empty one",
        "MiB",
    )
