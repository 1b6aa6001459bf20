"""Apache Kafka with listeners as they are in production: one with TLS and users, one where a certificate is the user."""

import time
from pathlib import Path
from typing import Final

from services.local.embedded import free_port
from tests.certificates import Certificates
from tests.kafka import jars
from tests.kafka.server import Kafka
from tests.servers import connects

USER: Final = "tideboard"
PASSWORD: Final = "p=ss-w0rd of tests"
_PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class SecureKafka(Kafka):
    """users: SASL_SSL, the address of who proves USER by a mechanism; certified: SSL, of who has a certificate. The plain listener stays."""

    def __init__(self, folder: Path, certificates: Certificates, host: str = "") -> None:
        """host: as who others reach it, then at every address of this machine; by default at 127.0.0.1 only."""
        super().__init__(folder)
        self._host, self._bound = (host, "0.0.0.0") if host else ("127.0.0.1", "127.0.0.1")
        self._certificates = certificates
        self._users, self._certified = free_port(), free_port()

    @property
    def users(self) -> str:
        return f"{self._host}:{self._users}"

    @property
    def certified(self) -> str:
        return f"{self._host}:{self._certified}"

    def wait(self, patience_s: float) -> None:
        """Wait until it answers, and until every listener takes connections: they come up one after the other."""
        super().wait(patience_s)
        until = time.monotonic() + patience_s
        for port in (self._users, self._certified):
            while not connects(port):
                assert time.monotonic() < until, f"{self.name} takes no connections on port {port}"
                time.sleep(0.01)

    def _format(self) -> None:
        self._configure()
        scram = (f"{mechanism}=[name={USER},password={_quoted(PASSWORD)}]" for mechanism in MECHANISMS[1:])
        jars.format_data(self._config, *(word for item in scram for word in ("--add-scram", item)))

    def _configure(self) -> None:
        plain = f"PLAINTEXT://{self.address}"
        advertised = f"{plain},USERS://{self.users},CERTIFIED://{self.certified}"
        bound = f"{plain},USERS://{self._bound}:{self._users},CERTIFIED://{self._bound}:{self._certified}"
        protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,USERS:SASL_SSL,CERTIFIED:SSL"
        jaas = "listener.name.users.{}.sasl.jaas.config"
        more: dict[str, object] = {
            "listeners": f"{bound},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": protocols,
            "inter.broker.listener.name": "PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._certificates.server.together,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._certificates.authority.certificate,
            "listener.name.certified.ssl.client.auth": "required",
            "listener.name.users.sasl.enabled.mechanisms": ",".join(MECHANISMS),
            jaas.format("plain"): f"{_PLAIN} required user_{USER}={_quoted(PASSWORD)};",
            **{jaas.format(mechanism.lower()): f"{_SCRAM} required;" for mechanism in MECHANISMS[1:]},
        }
        self._config.write_text(jars.properties(self.port, self._controller, self._data, more))


def _quoted(text: str) -> str:
    """As JAAS and StorageTool read it."""
    return f'"{text}"'
