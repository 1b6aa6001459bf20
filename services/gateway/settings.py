"""Settings of the gateway."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.runtime.settings import PORT, setting

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where viewers are served, and what may connect."""

    host: str = setting("127.0.0.1", "TIDEBOARD_GATEWAY_HOST", "Address that viewers connect to")
    port: int = setting(8080, "TIDEBOARD_GATEWAY_PORT", "Port that viewers connect to", between=PORT)
    wall: Path = setting(ROOT / "frontend" / "dist", "TIDEBOARD_GATEWAY_WALL", "Folder of the built wall")
    origins: tuple[str, ...] = setting(
        (),
        "TIDEBOARD_GATEWAY_ORIGINS",
        "Hosts of other pages that may open a WebSocket here, comma separated; *: any. Programs send no origin and always may",
    )


@dataclass(frozen=True, slots=True)
class LeavingSettings:
    """How a gateway leaves that is stopped (SIGTERM) or drained (POST /drain on the admin port). The target all stops at once: there is nowhere else to go."""

    notice_s: float = setting(
        5.0,
        "TIDEBOARD_GATEWAY_DRAIN_NOTICE",
        "In which balancers hear that it is not ready; who still connects is served, and nobody is asked to leave",
        "s",
        between=(0, 600),
    )
    deadline_s: float = setting(
        25.0,
        "TIDEBOARD_GATEWAY_DRAIN_DEADLINE",
        "After which it goes though viewers are left, since it was told to leave; 0: at once. 5 s less than a pod's grace period at least",
        "s",
        between=(0, 86_400),
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much one viewer, one address and everybody together may ask for. 0: no limit. Who gets 503 is told when to try again."""

    request_s: float = setting(
        10.0,
        "TIDEBOARD_GATEWAY_REQUEST_DEADLINE",
        "Within which a request, or a handshake, must have come in whole; then its connection is cut",
        "s",
        between=(0.1, 600),
    )
    keep_alive_s: float = setting(
        15.0,
        "TIDEBOARD_GATEWAY_KEEP_ALIVE",
        "For which an HTTP connection is kept open without a request",
        "s",
        between=(0.1, 3_600),
    )
    requests: int = setting(
        1_000,
        "TIDEBOARD_GATEWAY_REQUESTS_PER_CONNECTION",
        "Requests on one HTTP connection; then it is closed, so that a balancer can choose anew",
        between=(0, 1_000_000),
    )
