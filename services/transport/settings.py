"""How the log (Kafka) and the feed (Redis) are reached. What is said over them is in `contract`; docs/connections.md explains by example.

A secret can be given as a file instead. It is read at every connection, so that it can be changed without a restart.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from services.runtime.settings import SettingsError, setting

SASL: Final = "SASL_"
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The log. Partitions, replication and retention matter only where a topic is missing and is made."""

    bootstrap_servers: str = setting(
        "127.0.0.1:9092", "KAFKA_BOOTSTRAP_SERVERS", "Brokers of the log, host:port, comma separated."
    )
    security_protocol: str = setting(
        "PLAINTEXT",
        "TIDEBOARD_KAFKA_SECURITY_PROTOCOL",
        "How brokers are spoken to",
        choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    sasl_mechanism: str = setting(
        "SCRAM-SHA-512", "TIDEBOARD_KAFKA_SASL_MECHANISM", "How the user is proved, with SASL_*", choices=_MECHANISMS
    )
    username: str = setting("", "TIDEBOARD_KAFKA_USERNAME", "User, with SASL_*")
    password: str = setting("", "TIDEBOARD_KAFKA_PASSWORD", "Password of the user", secret=True)
    password_file: str = setting(
        "", "TIDEBOARD_KAFKA_PASSWORD_FILE", "File that holds the password instead. It is read at every connection"
    )
    ca_file: str = setting(
        "", "TIDEBOARD_KAFKA_CA_FILE", "Certificates (PEM) of who may vouch for the brokers; the machine's own by default"
    )
    certificate_file: str = setting("", "TIDEBOARD_KAFKA_CERTIFICATE_FILE", "Our certificate (PEM), where brokers ask for one")
    key_file: str = setting("", "TIDEBOARD_KAFKA_KEY_FILE", "The key of our certificate (PEM, without a passphrase)")
    check_hostname: bool = setting(
        True, "TIDEBOARD_KAFKA_CHECK_HOSTNAME", "Whether a broker's certificate must name the host that was asked for"
    )
    partitions: int = setting(
        4, "TIDEBOARD_KAFKA_PARTITIONS", "Partitions of the samples topic, when it is made", between=(1, 4096)
    )
    replication: int = setting(
        1,
        "TIDEBOARD_KAFKA_REPLICATION",
        "Copies of each partition, when topics are made. 3 in production; one broker can hold 1",
    )
    retention_ms: int = setting(
        86_400_000,
        "TIDEBOARD_KAFKA_RETENTION_MS",
        "How long the samples topic keeps its records, when it is made. New dashboards are filled from it",
        "ms",
    )
    compression: str = setting(
        "lz4",
        "TIDEBOARD_KAFKA_COMPRESSION",
        "Compression of records. lz4 costs the least CPU per sample",
        choices=("none", "gzip", "lz4", "zstd", "snappy"),
    )
    fetch_wait_ms: int = setting(
        500,
        "TIDEBOARD_KAFKA_FETCH_WAIT_MS",
        "How long a broker may hold a fetch that finds nothing. Kafka answers as soon as something arrives; the embedded broker does not, and gets 50",
        "ms",
    )
    request_timeout_ms: int = setting(
        10_000,
        "TIDEBOARD_KAFKA_REQUEST_TIMEOUT_MS",
        "After how long a request to a broker counts as failed",
        "ms",
        between=(100, 600_000),
    )

    def __post_init__(self) -> None:
        if self.security_protocol.startswith(SASL) and not (self.username and (self.password or self.password_file)):
            raise SettingsError(
                f"TIDEBOARD_KAFKA_SECURITY_PROTOCOL is {self.security_protocol}, which needs TIDEBOARD_KAFKA_USERNAME "
                "and TIDEBOARD_KAFKA_PASSWORD or TIDEBOARD_KAFKA_PASSWORD_FILE"
            )
        _check_pair("TIDEBOARD_KAFKA", self.certificate_file, self.key_file)

    @property
    def tls(self) -> bool:
        return self.security_protocol.endswith("SSL")


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """The feed: shared state and fan-out. Redis or Valkey."""

    url: str = setting(
        "redis://127.0.0.1:6379/0",
        "REDIS_URL",
        "Redis or Valkey: redis://host:port/db, rediss:// for TLS; redis+sentinel://host:port,host:port/service/db asks Sentinels "
        "(rediss+sentinel:// with TLS); redis+cluster://host:port,host:port names some servers of a Cluster (rediss+cluster:// with TLS). user:password@ may stand before the host",
        secret=True,
    )
    username: str = setting("", "TIDEBOARD_REDIS_USERNAME", "ACL user, where the URL names none")
    password: str = setting("", "TIDEBOARD_REDIS_PASSWORD", "Password, where the URL has none", secret=True)
    password_file: str = setting(
        "", "TIDEBOARD_REDIS_PASSWORD_FILE", "File that holds the password instead. It is read at every connection"
    )
    sentinel_username: str = setting("", "TIDEBOARD_REDIS_SENTINEL_USERNAME", "ACL user for the Sentinels themselves")
    sentinel_password: str = setting("", "TIDEBOARD_REDIS_SENTINEL_PASSWORD", "Password for the Sentinels", secret=True)
    sentinel_password_file: str = setting(
        "", "TIDEBOARD_REDIS_SENTINEL_PASSWORD_FILE", "File that holds the Sentinels' password instead"
    )
    ca_file: str = setting(
        "", "TIDEBOARD_REDIS_CA_FILE", "Certificates (PEM) of who may vouch for the server; the machine's own by default"
    )
    certificate_file: str = setting(
        "", "TIDEBOARD_REDIS_CERTIFICATE_FILE", "Our certificate (PEM), where the server asks for one"
    )
    key_file: str = setting("", "TIDEBOARD_REDIS_KEY_FILE", "The key of our certificate (PEM, without a passphrase)")
    check_hostname: bool = setting(
        True, "TIDEBOARD_REDIS_CHECK_HOSTNAME", "Whether the server's certificate must name the host that was asked for"
    )

    def __post_init__(self) -> None:
        _check_pair("TIDEBOARD_REDIS", self.certificate_file, self.key_file)
        redis_address(self.url)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What a REDIS_URL says. hosts: the Sentinels where there is a service, some servers of a Cluster, else the one server; path: of a Unix socket."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    db: int
    tls: bool
    username: str
    password: str
    path: str = ""
    cluster: bool = False

    def __repr__(self) -> str:
        return f"<Redis {self.service or self.path or self.hosts}>"


_SCHEMES: Final = {
    "redis": False,
    "rediss": True,
    "redis+sentinel": False,
    "rediss+sentinel": True,
    "redis+cluster": False,
    "rediss+cluster": True,
    "unix": False,
}
"""Whether there is TLS."""


def redis_address(url: str) -> RedisAddress:
    """SettingsError where it is none; it does not repeat what may hold a password."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise SettingsError(f"REDIS_URL: {parts.scheme!r} is not one of {', '.join(_SCHEMES)}")
    if parts.query:
        raise SettingsError("REDIS_URL: what comes after a ? is not read; docs/settings.md lists the settings instead")
    sentinel, cluster = parts.scheme.endswith("sentinel"), parts.scheme.endswith("cluster")
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = (unquote(part) for part in user.partition(":"))
    path = [unquote(part) for part in parts.path.split("/") if part]
    service = path.pop(0) if sentinel and path else ""
    if sentinel and not service:
        raise SettingsError("REDIS_URL: with Sentinels it ends with the service's name: redis+sentinel://host:port/service")
    if parts.scheme == "unix":
        return RedisAddress((), "", 0, False, username, password, unquote(parts.path))
    try:
        db = int(path[0]) if path else 0
        found = tuple(_host(host, 26379 if sentinel else 6379) for host in hosts.split(","))
    except ValueError:
        raise SettingsError("REDIS_URL: a port or the database is not a number") from None
    if len(found) > 1 and not sentinel and not cluster:
        raise SettingsError(
            "REDIS_URL: several hosts are Sentinels: redis+sentinel://host:port,host:port/service, "
            "or servers of a Cluster: redis+cluster://host:port,host:port"
        )
    if cluster and db:
        raise SettingsError(f"REDIS_URL: a Cluster has no databases but 0, and the URL ends with /{db}")
    return RedisAddress(found, service, db, _SCHEMES[parts.scheme], username, password, cluster=cluster)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = SplitResult("", text, "", "", "")
    return parts.hostname or "127.0.0.1", parts.port or port


def _check_pair(prefix: str, certificate: str, key: str) -> None:
    if bool(certificate) != bool(key):
        raise SettingsError(f"{prefix}_CERTIFICATE_FILE and {prefix}_KEY_FILE come together")


def read_secret(text: str, file: str) -> str:
    """A password: from its file where there is one. OSError where that cannot be read."""
    return Path(file).read_text(encoding="utf-8").rstrip("\r\n") if file else text


def sentinels_of(settings: RedisSettings) -> RedisSettings:
    """How the Sentinels themselves are reached: as the server, with a user of their own."""
    return replace(
        settings,
        username=settings.sentinel_username,
        password=settings.sentinel_password,
        password_file=settings.sentinel_password_file,
    )
