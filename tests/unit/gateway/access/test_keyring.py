"""When keys are read, and what becomes of those that cannot be. How a gateway gets by without them, tests/pipeline/test_gateway_access.py shows."""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.gateway.access.keyring import MAX_BYTES, Keyring, Schedule
from services.gateway.settings import AccessSettings
from services.runtime.service import StartupError
from tests.certificates import Certificates, make
from tests.tokens import SECRET, jwk, jwks, pem
from tests.unit.transport.test_tls import strict


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def names(keyring: Keyring) -> list[str]:
    return [key.kid for key in keyring.keys.keys]


def test_keys_are_read_at_once_then_after_a_while() -> None:
    schedule = Schedule(every_s=300, again_s=5)
    assert schedule.due_at <= 100
    schedule.read(100, failed=False)
    assert schedule.due_at == 400


def test_after_a_failure_they_are_read_sooner_and_less_and_less_often() -> None:
    schedule, waits, now = Schedule(every_s=20, again_s=5), [], 100.0
    for _ in range(8):
        schedule.read(now, failed=True)
        waits.append(schedule.due_at - now)
        now = schedule.due_at
    assert waits == [1, 2, 4, 8, 16, 20, 20, 20]
    schedule.read(now, failed=False)
    schedule.read(now, failed=True)
    assert schedule.due_at - now == 1


def test_unknown_keys_are_a_reason_once_in_a_while() -> None:
    schedule = Schedule(every_s=300, again_s=5)
    assert schedule.grants(0)
    schedule.read(100, failed=False)
    assert not schedule.grants(104.9)
    assert schedule.grants(105)


@pytest.mark.parametrize(
    "address",
    [
        "http://id.example/keys",
        "http://127.0.0.1@id.example/keys",
        "http://127.0.0.1.id.example/keys",
        "http:///keys",
        "ftp://127.0.0.1/keys",
        "https//[::1://keys",
    ],
)
def test_keys_are_not_asked_for_where_others_could_answer(address: str) -> None:
    with pytest.raises(StartupError, match="TIDEBOARD_GATEWAY_JWKS is"):
        Keyring(AccessSettings(jwks=address))


@pytest.mark.parametrize(
    "address",
    ["https://id.example/keys", "HTTPS://id.example", "http://127.0.0.1:1/keys", "http://localhost", "http://[::1]:1/"],
)
def test_keys_are_asked_for_by_tls_or_on_this_machine(address: str) -> None:
    assert Keyring(AccessSettings(jwks=address)).keys.keys == ()


async def test_all_sources_together_are_the_keys(tmp_path: Path) -> None:
    (tmp_path / "pem").write_bytes(pem("RS256"))
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "set").write_bytes(jwks(jwk("ES256", "a"), jwk("EdDSA", "b")))
    settings = AccessSettings(key_file=str(tmp_path / "pem"), secret_file=str(tmp_path / "secret"), jwks=str(tmp_path / "set"))
    keyring = Keyring(settings)
    await keyring.start()
    assert names(keyring) == ["", "", "a", "b"]
    assert SECRET.decode() not in str(keyring.status())


async def test_a_file_that_is_replaced_is_read_again_and_one_that_goes_keeps_its_keys(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "set"
    file.write_bytes(jwks(jwk("ES256", "a")))
    keyring = Keyring(AccessSettings(jwks=str(file)), again_s=5, clock=clock)
    await keyring.start()
    assert keyring.renewed() is None, "it was read a moment ago"
    running = asyncio.create_task(keyring.run())
    try:
        file.write_bytes(jwks(jwk("ES256", "b", 1)))
        clock.now += 5
        renewed = keyring.renewed()
        assert renewed is not None
        assert keyring.renewed() is renewed, "one reading for all who wait"
        await renewed
        assert names(keyring) == ["b"]
        for away in (b"rubbish", None):
            file.unlink() if away is None else file.write_bytes(away)
            clock.now += 5
            renewed = keyring.renewed()
            assert renewed is not None
            await renewed
            assert names(keyring) == ["b"]
            assert keyring.away
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_keys_are_read_when_they_are_due(tmp_path: Path) -> None:
    file = tmp_path / "set"
    file.write_bytes(jwks(jwk("ES256", "a")))
    keyring = Keyring(AccessSettings(jwks=str(file), refresh_s=0.01))
    await keyring.start()
    running = asyncio.create_task(keyring.run())
    try:
        file.write_bytes(jwks(jwk("ES256", "b", 1)))
        async with asyncio.timeout(10):
            while names(keyring) != ["b"]:
                await asyncio.to_thread(time.sleep, 0.01)
    finally:
        running.cancel()
        await asyncio.wait([running])


def test_a_user_in_the_address_is_not_told() -> None:
    keyring = Keyring(AccessSettings(jwks="https://ada:secret@id.example/keys?token=secret"))
    assert "secret" not in repr([source.name for source in keyring._sources])


def test_certificates_that_are_none_end_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="JWKS_CA_FILE"):
        Keyring(AccessSettings(jwks="https://id.example/", jwks_ca_file=str(tmp_path / "none")))


@contextlib.contextmanager
def published(answer: bytes, certificates: Certificates) -> Iterator[str]:
    """A key set behind TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # who has read enough hangs up
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that does not trust us is no error of ours
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()


async def test_only_who_is_vouched_for_publishes_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an authority as openssl makes it, also on a Python that asks for more."""
    monkeypatch.setattr(ssl, "create_default_context", strict(ssl.create_default_context))
    certificates = make(tmp_path)
    with published(jwks(jwk("ES256", "a")), certificates) as url:
        trusting = Keyring(AccessSettings(jwks=url, jwks_ca_file=str(certificates.authority.certificate)))
        await trusting.start()
        assert names(trusting) == ["a"]
        stranger = Keyring(AccessSettings(jwks=url))
        await stranger.start()
        assert names(stranger) == []
        assert "certificate" in stranger.away.lower()


async def test_a_set_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    certificates = make(tmp_path)
    with published(b" " * (MAX_BYTES + 1) + jwks(jwk("ES256", "a")), certificates) as url:
        keyring = Keyring(AccessSettings(jwks=url, jwks_ca_file=str(certificates.authority.certificate)))
        await keyring.start()
        assert names(keyring) == []
        assert "1,048,576 bytes" in keyring.away
