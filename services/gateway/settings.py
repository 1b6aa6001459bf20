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
        "Pages of other hosts that may read from here: wall.example, https://wall.example, *.example; *: any, but without cookies. "
        "Programs send no origin and always may",
    )


@dataclass(frozen=True, slots=True)
class LeavingSettings:
    """How a gateway leaves that is stopped (SIGTERM) or drained (POST /drain). The target all stops at once: there is nowhere else to go."""

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
class AccessSettings:
    """Who may see what. docs/protocol.md, "Tokens", says how tokens are sent; docs/operations.md how this is set up."""

    auth: str = setting(
        "off", "TIDEBOARD_GATEWAY_AUTH", "Whether viewers need a token: a JSON Web Token", choices=("off", "jwt")
    )
    key_file: str = setting(
        "",
        "TIDEBOARD_GATEWAY_KEY_FILE",
        "File of public keys or certificates (PEM, several may follow each other) that tokens are signed with",
    )
    secret_file: str = setting(
        "", "TIDEBOARD_GATEWAY_SECRET_FILE", "File of the secret of HS256 (at least 32 bytes), HS384 (48) or HS512 (64)"
    )
    jwks: str = setting(
        "",
        "TIDEBOARD_GATEWAY_JWKS",
        "JWK set: a file, or an address (https://...; http:// of this machine only) that is read again and again",
    )
    jwks_ca_file: str = setting(
        "",
        "TIDEBOARD_GATEWAY_JWKS_CA_FILE",
        "Certificates (PEM) of who may vouch for that address; the machine's own by default",
    )
    refresh_s: float = setting(
        300.0,
        "TIDEBOARD_GATEWAY_KEYS_REFRESH",
        "After which keys are read again, also those of files. A token whose key is not known reads them at once, every 5 s at most",
        "s",
        between=(1, 86_400),
    )
    algorithms: tuple[str, ...] = setting(
        (), "TIDEBOARD_GATEWAY_ALGORITHMS", "Algorithms of signatures that are taken; by default all that fit the keys"
    )
    audiences: tuple[str, ...] = setting(
        (),
        "TIDEBOARD_GATEWAY_AUDIENCES",
        "A token must be meant for one of these (aud); by default it must be meant for nobody in particular",
    )
    issuers: tuple[str, ...] = setting(
        (), "TIDEBOARD_GATEWAY_ISSUERS", "A token must come from one of these (iss); by default from anybody"
    )
    claim: str = setting(
        "dashboards",
        "TIDEBOARD_GATEWAY_DASHBOARDS_CLAIM",
        "Claim that lists the dashboards that may be seen, as patterns such as team-*",
    )
    leeway_s: float = setting(
        10.0,
        "TIDEBOARD_GATEWAY_TOKEN_LEEWAY",
        "By how much the clocks of who signs and of gateways may differ",
        "s",
        between=(0, 300),
    )
    cookie: str = setting("tideboard_token", "TIDEBOARD_GATEWAY_TOKEN_COOKIE", "Cookie that may hold the token; empty: none")
    query: str = setting(
        "",
        "TIDEBOARD_GATEWAY_TOKEN_QUERY",
        "Parameter of the query that may hold the token; empty: none, as addresses end up in logs",
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much one viewer, one address and everybody together may ask for. 0: no limit. Who gets 503 is told when to try again."""

    trusted_proxies: tuple[str, ...] = setting(
        (),
        "TIDEBOARD_GATEWAY_TRUSTED_PROXIES",
        "Networks (10.0.0.0/8) whose word on the client's address is taken. Without them all clients of a proxy have its address",
    )
    forwarded: str = setting(
        "x-forwarded-for",
        "TIDEBOARD_GATEWAY_FORWARDED_HEADER",
        "Header in which trusted proxies say it. The other one is not looked at, for a client may have made it up",
        choices=("x-forwarded-for", "forwarded"),
    )
    connections: int = setting(
        0,
        "TIDEBOARD_GATEWAY_CONNECTIONS",
        "Connections of all kinds at a time, idle ones too. 0: as many as files may be open, less 64; never more than that",
        between=(0, 10_000_000),
    )
    per_address: int = setting(
        0,
        "TIDEBOARD_GATEWAY_CONNECTIONS_PER_ADDRESS",
        "Sockets and event streams of one address (of IPv6: one network of 64 bits) at a time",
        between=(0, 1_000_000),
    )
    per_subject: int = setting(
        100, "TIDEBOARD_GATEWAY_CONNECTIONS_PER_TOKEN", "The same of one token's subject (sub)", between=(0, 1_000_000)
    )
    accepts_per_s: float = setting(
        500.0, "TIDEBOARD_GATEWAY_ACCEPTS", "New sockets and event streams that are accepted, for good", "1/s", between=(0, 1e6)
    )
    accepts_at_once: int = setting(
        2_000, "TIDEBOARD_GATEWAY_ACCEPTS_AT_ONCE", "The same at once, after it was quiet", between=(1, 1_000_000)
    )
    accepts_per_address_s: float = setting(
        0.0,
        "TIDEBOARD_GATEWAY_ACCEPTS_PER_ADDRESS",
        "New sockets and event streams, and requests under /api/, of one address; four seconds' worth at once",
        "1/s",
        between=(0, 1e6),
    )
    accepts_per_subject_s: float = setting(
        50.0,
        "TIDEBOARD_GATEWAY_ACCEPTS_PER_TOKEN",
        "The same of one token's subject (sub): all of its connections may come back at once, and ask",
        "1/s",
        between=(0, 1e6),
    )
    messages_per_s: float = setting(
        20.0,
        "TIDEBOARD_GATEWAY_MESSAGES",
        "Frames that a client may send on a socket, for good: messages, or their fragments, pings and pongs. Then it is closed with 4005",
        "1/s",
        between=(0, 1e6),
    )
    messages_at_once: int = setting(
        300,
        "TIDEBOARD_GATEWAY_MESSAGES_AT_ONCE",
        "The same at once: a page subscribes to all its dashboards when it opens",
        between=(1, 1_000_000),
    )
    stall_s: float = setting(
        30.0,
        "TIDEBOARD_GATEWAY_STALL_DEADLINE",
        "After which a socket whose reader takes nothing at all is closed with 4001",
        "s",
        between=(0.5, 3_600),
    )
    waiting_bytes: int = setting(
        16 * 1024 * 1024,
        "TIDEBOARD_GATEWAY_WAITING_BYTES",
        "What may wait for one reader beside the frame that is on its way; of more its socket is closed with 4001",
        "bytes",
        between=(1_024, 1 << 30),
    )
    dashboards: int = setting(
        64, "TIDEBOARD_GATEWAY_DASHBOARDS_PER_SOCKET", "Dashboards that one socket may subscribe to", between=(1, 10_000)
    )
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
