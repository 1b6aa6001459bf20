"""Whom we trust: an authority of somebody's own, as `openssl req -x509` makes it, on every Python that we run on."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.transport.settings import KafkaSettings
from services.transport.tls import tls_context
from tests.certificates import Certificates, Pair, make


@pytest.fixture(autouse=True)
def as_since_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its default asks for all of RFC 5280."""
    monkeypatch.setattr(ssl, "create_default_context", strict(ssl.create_default_context))


def strict(make_context: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    def made(*args: Any, **options: Any) -> ssl.SSLContext:
        context = make_context(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    return made


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make(tmp_path)


def test_an_authority_without_every_extension_may_vouch_for_a_server(certificates: Certificates) -> None:
    with serving(certificates.server) as port:
        connect(port, certificates.authority.certificate)
        for ca in (certificates.stranger.certificate, ""):
            with pytest.raises(ssl.SSLCertVerificationError):
                connect(port, ca)
    with serving(certificates.elsewhere) as port, pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        connect(port, certificates.authority.certificate)


def connect(port: int, ca: Path | str) -> None:
    context = tls_context(KafkaSettings(security_protocol="SSL", ca_file=str(ca)))
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1"):
        pass


@contextlib.contextmanager
def serving(pair: Pair) -> Iterator[int]:
    """A port where this certificate is shown to everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    def show() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as shown:
                    shown.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=show)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
