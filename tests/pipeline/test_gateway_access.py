"""Who gets in, against a gateway as a process of its own, with an independent client and bare HTTP."""

import asyncio
import base64
import contextlib
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from services.contract.registry import Fault
from services.transport.registry import write_entry
from tests.gateway_process import GatewayProcess, running
from tests.pipeline.gateway_world import LIVE, WALL_PAGES, build_wall, desk, document, entry, metrics_at, panel, request
from tests.servers import Valkey
from tests.tokens import SECRET, claims, jwk, jwks, pem, token

PATIENCE_S = 10.0
HOST = document("host", panel("cpu", "cpu_busy"))
TEAM = document("team-a", panel("cpu", "cpu_busy"))


class Issuer:
    """Whoever signs: a JWK set over HTTP, changed and taken away at will."""

    def __init__(self) -> None:
        self.answer = jwks(jwk("ES256", "first"))
        self.status = 200
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                if issuer.status == 302:
                    self.send_header("location", "/elsewhere")
                self.end_headers()
                self.wfile.write(issuer.answer)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @contextlib.contextmanager
    def answering(self) -> Iterator["Issuer"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("access")
    (found / "secret").write_bytes(SECRET)
    (found / "key.pem").write_bytes(pem("RS256"))
    build_wall(found / "wall")
    return found


@pytest.fixture(scope="module")
def redis_url(valkey: Valkey) -> str:
    """A feed with three dashboards."""

    async def fill() -> None:
        async with desk(valkey.url) as redis:
            await write_entry(redis, entry(HOST), entry(TEAM), entry(None, "r0", Fault("spec", "is bad"), "broken"))

    asyncio.run(fill())
    return valkey.url


def settings(folder: Path, **more: str) -> dict[str, str]:
    """A gateway that asks for tokens, signed with our secret or our key."""
    return {
        "TIDEBOARD_GATEWAY_AUTH": "jwt",
        "TIDEBOARD_GATEWAY_SECRET_FILE": str(folder / "secret"),
        "TIDEBOARD_GATEWAY_KEY_FILE": str(folder / "key.pem"),
        "TIDEBOARD_GATEWAY_WALL": str(folder / "wall"),
        "TIDEBOARD_GATEWAY_TOKEN_LEEWAY": "0",
        **{f"TIDEBOARD_GATEWAY_{name.upper()}": value for name, value in more.items()},
    }


@pytest.fixture(scope="module")
def gateway(redis_url: str, folder: Path) -> Iterator[GatewayProcess]:
    with running(GatewayProcess(redis_url, folder, **settings(folder))) as found:
        yield found
        assert found.complaints() == []


def good(*dashboards: str, **more: Any) -> str:
    return token(claims(*(dashboards or ("team-*",)), **more))


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@contextlib.asynccontextmanager
async def watching(
    gateway: GatewayProcess, held: str = "", *, path: str = "/api/v1/live", protocols: tuple[str, ...] = (LIVE,), **more: Any
) -> AsyncIterator[ClientConnection]:
    headers = {**(bearer(held) if held else {}), **more.pop("headers", {})}
    url = f"ws://127.0.0.1:{gateway.port}{path}"
    subprotocols = [Subprotocol(name) for name in protocols]
    async with connect(url, subprotocols=subprotocols or None, additional_headers=headers, max_size=None, **more) as socket:
        yield socket


async def refused(gateway: GatewayProcess, held: str = "", **more: Any) -> int:
    """The status of a handshake that must not succeed."""
    with pytest.raises(InvalidStatus) as caught:
        async with watching(gateway, held, **more):
            pass
    return caught.value.response.status_code


async def hear(socket: ClientConnection, kind: str, **fields: Any) -> dict[str, Any]:
    """The next message of a type, with these fields."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if message["type"] == kind and all(message[name] == value for name, value in fields.items()):
                return message


async def closing(socket: ClientConnection) -> int:
    """The code that it ends with."""
    with pytest.raises(ConnectionClosed) as caught:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await socket.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


async def say(socket: ClientConnection, kind: str, **fields: Any) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


def error(body: bytes) -> str:
    found: str = json.loads(body)["error"]["code"]
    return found


# By which right.


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "PS384"])
async def test_a_viewer_with_a_token_sees_what_it_names_and_nothing_else(gateway: GatewayProcess, algorithm: str) -> None:
    async with watching(gateway, token(claims("team-*"), algorithm)) as socket:
        told = json.loads(await socket.recv())
        assert (told["type"], round(told["ends"] - told["now"], -4)) == ("token", 300_000)
        await say(socket, "subscribe", dashboard="host")
        assert (await hear(socket, "error"))["code"] == "forbidden"
        await say(socket, "subscribe", dashboard="nothing-of-that-name")
        assert (await hear(socket, "error"))["code"] == "forbidden"
        await say(socket, "subscribe", dashboard="team-a")
        assert (await hear(socket, "snapshot"))["dashboard"] == "team-a"


ATTACKS: dict[str, Callable[[], str]] = {
    "no token": lambda: "",
    "rubbish": lambda: "aaa.bbb.ccc",
    "ended": lambda: good(ends_in_s=-1),
    "not yet": lambda: good(nbf=time.time() + 60),
    "without an end": lambda: token({"sub": "ada", "dashboards": ["*"]}),
    "for another": lambda: good(aud="shop"),
    "no algorithm": lambda: ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims("*"))), ""]),
    "another's key": lambda: token(claims("*"), "RS256", number=1),
    "another's curve": lambda: token(claims("*"), "ES256"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_nobody_gets_in_by(gateway: GatewayProcess, attack: Callable[[], str]) -> None:
    held = attack()
    assert await refused(gateway, held) == 401
    assert await refused(gateway, held, path="/api/v1/plotly?dashboard=host&panel=cpu", protocols=()) == 401
    for path in (
        "/api/v1/dashboards",
        "/api/v1/dashboards/host",
        "/api/v1/dashboards/host/snapshot",
        "/api/v1/live",
        "/api/v9",
    ):
        status, headers, body = await request(gateway.port, path, **bearer(held))
        assert (status, error(body)) == (401, "unauthorized")
        assert headers["www-authenticate"].startswith("Bearer")
        assert headers["cache-control"] == "no-store"


async def test_rest_shows_what_the_token_names(gateway: GatewayProcess) -> None:
    _, _, body = await request(gateway.port, "/api/v1/dashboards", **bearer(good("team-*", "brok?n")))
    assert [item["name"] for item in json.loads(body)["dashboards"]] == ["broken", "team-a"]
    for path, expected in [
        ("/api/v1/dashboards/team-a", 200),
        ("/api/v1/dashboards/team-a/snapshot", 200),
        ("/api/v1/dashboards/host", 403),
        ("/api/v1/dashboards/host/", 403),
        ("/api/v1/dashboards/host/snapshot", 403),
        ("/api/v1/dashboards/host/snapshot?format=csv", 403),
        ("/api/v1/dashboards/%68ost/snapshot", 403),
        ("/api/v1/dashboards/no-such-one", 403),
        ("//api/v1/dashboards/host", 404),
        ("/d/../api/v1/dashboards/host", 404),
    ]:
        status, _, body = await request(gateway.port, path, **bearer(good()))
        assert (path, status) == (path, expected)
        assert expected != 403 or error(body) == "forbidden"


async def test_a_token_that_names_nothing_gets_nowhere(gateway: GatewayProcess) -> None:
    held = token(claims())
    assert await refused(gateway, held) == 403
    assert (await request(gateway.port, "/api/v1/dashboards", **bearer(held)))[0] == 403


EVENTS = "/api/v1/dashboards/{}/events"


async def streamed(gateway: GatewayProcess, name: str, held: str) -> bytes:
    """An event stream until it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        f"GET {EVENTS.format(name)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {held}\r\nConnection: close\r\n\r\n".encode()
    )
    found = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    return found


async def test_event_streams_are_asked_too_and_end_with_their_token(gateway: GatewayProcess) -> None:
    assert (await request(gateway.port, EVENTS.format("team-a")))[0] == 401
    assert (await request(gateway.port, EVENTS.format("host"), **bearer(good())))[0] == 403
    ends = time.time() + 2
    found = await streamed(gateway, "team-a", good(ends_in_s=2))
    assert ends - 1 < time.time() < ends + 5
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b"event: snapshot" in found
    assert found.endswith(b"0\r\n\r\n"), "in order: with the last chunk"


async def test_event_streams_are_counted(redis_url: str, folder: Path, tmp_path: Path) -> None:
    with running(GatewayProcess(redis_url, tmp_path, **settings(folder, connections_per_token="1"))) as gateway:
        first = asyncio.create_task(streamed(gateway, "team-a", good(ends_in_s=3)))
        async with asyncio.timeout(PATIENCE_S):
            while not gateway.status()["watched"]:
                await asyncio.to_thread(time.sleep, 0.01)
        assert await refused(gateway, good()) == 503
        assert (await first).startswith(b"HTTP/1.1 200 ")
        await let_in(gateway, good())


async def test_plotly_is_asked_too(gateway: GatewayProcess) -> None:
    async with watching(gateway, good(), path="/api/v1/plotly?dashboard=host&panel=cpu", protocols=()) as socket:
        assert json.loads(await socket.recv())["action"] == "error"
        assert await closing(socket) == 4502


async def test_the_wall_itself_is_public(gateway: GatewayProcess) -> None:
    for path in ("/", "/d/host", "/plotly/host", "/assets/app-1234.js", "/favicon.svg"):
        assert (await request(gateway.port, path))[0] == 200


async def test_what_is_on_the_admin_port_is_not_on_the_other_one(gateway: GatewayProcess) -> None:
    paths = ("/metrics", "/status", "/livez", "/readyz", "/drain", "/shed")
    for path in paths:
        for method in ("GET", "POST"):
            status, _, body = await request(gateway.port, path, method, Content_Length="0", **bearer(good("*")))
            assert (path, status in (404, 405)) == (path, True), body
    statuses = [(await request(gateway.admin, path))[0] for path in paths]
    assert statuses == [200, 200, 200, 200, 405, 405], "the paths are those of the admin port"
    assert set(WALL_PAGES).isdisjoint(paths)


# How it is carried.


async def test_a_browser_may_send_it_as_a_subprotocol_that_is_never_agreed_on(gateway: GatewayProcess) -> None:
    held = good()
    for word in (held, base64.urlsafe_b64encode(held.encode()).decode().rstrip("=")):
        for protocols in ((LIVE, f"tideboard.token.{word}"), (f"tideboard.token.{word}", LIVE)):
            async with watching(gateway, protocols=protocols) as socket:
                assert socket.subprotocol == LIVE
                assert "tideboard.token" not in str(socket.response.headers)  # type: ignore[union-attr]


async def test_a_cookie_counts_for_own_pages_and_programs(gateway: GatewayProcess) -> None:
    cookie = {"Cookie": f"a=b; tideboard_token={good()}"}
    async with watching(gateway, headers=cookie, origin=Origin(f"http://127.0.0.1:{gateway.port}")):
        pass
    assert (await request(gateway.port, "/api/v1/dashboards", **cookie))[0] == 200
    assert await refused(gateway, headers=cookie, origin=Origin("https://evil.example")) == 403


async def test_the_query_counts_only_where_a_setting_says_so(
    gateway: GatewayProcess, redis_url: str, folder: Path, tmp_path: Path
) -> None:
    path = f"/api/v1/dashboards?token={good()}"
    assert (await request(gateway.port, path))[0] == 401
    with running(GatewayProcess(redis_url, tmp_path, **settings(folder, token_query="token"))) as other:
        assert (await request(other.port, path))[0] == 200


# Until when.


async def test_a_socket_ends_with_its_token(gateway: GatewayProcess) -> None:
    async with watching(gateway, good(ends_in_s=2)) as socket:
        await say(socket, "subscribe", dashboard="team-a")
        await hear(socket, "snapshot")
        assert await closing(socket) == 4004
    assert await refused(gateway, good(ends_in_s=-1)) == 401


async def test_a_socket_goes_on_with_another_token(gateway: GatewayProcess) -> None:
    async with watching(gateway, good("host", "team-*", ends_in_s=2)) as socket:
        first = await hear(socket, "token")
        for name in ("host", "team-a"):
            await say(socket, "subscribe", dashboard=name)
            await hear(socket, "snapshot", dashboard=name)
        await say(socket, "token", token=good(ends_in_s=60))
        second = await hear(socket, "token")
        assert second["ends"] > first["ends"] + 50_000
        assert (await hear(socket, "error"))["dashboard"] == "host", "what the new one does not name is over"
        while time.time() * 1000 < first["ends"] + 2_000:
            assert json.loads(await socket.recv())["dashboard"] == "team-a"


@pytest.mark.parametrize(
    "other",
    [lambda: "rubbish", lambda: good(ends_in_s=-1), lambda: good(sub="eve"), lambda: token(claims("*"), "RS256", number=1)],
)
async def test_another_token_that_does_not_hold_changes_nothing(gateway: GatewayProcess, other: Callable[[], str]) -> None:
    async with watching(gateway, good()) as socket:
        await say(socket, "token", token=other())
        assert (await hear(socket, "error"))["code"] == "bad_token"
        await say(socket, "subscribe", dashboard="team-a")
        await hear(socket, "snapshot")


async def test_a_plotly_stream_goes_on_with_another_token(gateway: GatewayProcess) -> None:
    path = "/api/v1/plotly?dashboard=team-a&panel=cpu"
    async with watching(gateway, good(ends_in_s=2), path=path, protocols=()) as socket:
        assert json.loads(await socket.recv())["action"] == "react"
        await say(socket, "token", token="rubbish")
        assert json.loads(await socket.recv())["action"] == "error"
        await say(socket, "token", token=good("host"))
        assert json.loads(await socket.recv())["action"] == "error"
        assert await closing(socket) == 4502
    async with watching(gateway, good(ends_in_s=2), path=path, protocols=()) as socket:
        assert await closing(socket) == 4004


# Keys.


async def test_keys_are_read_again_when_a_token_names_a_new_one(redis_url: str, tmp_path: Path) -> None:
    environ = {"TIDEBOARD_GATEWAY_AUTH": "jwt", "TIDEBOARD_GATEWAY_KEYS_REFRESH": "3600"}
    with (
        Issuer().answering() as issuer,
        running(GatewayProcess(redis_url, tmp_path, **environ, TIDEBOARD_GATEWAY_JWKS=issuer.url)) as gateway,
    ):
        async with watching(gateway, token(claims("*"), "ES256", "first")):
            pass
        asked = issuer.asked
        assert await refused(gateway, token(claims("*"), "ES256", "second", 1)) == 401, "asked a moment ago"
        assert issuer.asked == asked
        issuer.answer = jwks(jwk("ES256", "second", 1))
        await asyncio.sleep(5.1)  # the only way to see that a limit of time is over
        held = token(claims("*"), "ES256", "second", 1)
        at_once = await asyncio.gather(
            *(request(gateway.port, "/api/v1/dashboards", **bearer(held)) for _ in range(10)), admitted(gateway, held)
        )
        assert [status for status, *_ in at_once] == [200] * 11, "who came first waited for the key, and so did the others"
        assert issuer.asked == asked + 1
        assert await refused(gateway, token(claims("*"), "ES256", "first")) == 401, "a key that is gone is gone"
        assert gateway.status()["tokens"] == {"keys": ["second: ES256"], "away": None}


async def admitted(gateway: GatewayProcess, held: str) -> tuple[int]:
    async with watching(gateway, held):
        return (200,)


@pytest.mark.parametrize("fault", [503, 302, b"{}", b"rubbish"])
async def test_keys_stay_while_who_signs_is_away(redis_url: str, tmp_path: Path, fault: int | bytes) -> None:
    environ = {"TIDEBOARD_GATEWAY_AUTH": "jwt", "TIDEBOARD_GATEWAY_KEYS_REFRESH": "1"}
    with (
        Issuer().answering() as issuer,
        running(GatewayProcess(redis_url, tmp_path, **environ, TIDEBOARD_GATEWAY_JWKS=issuer.url)) as gateway,
    ):
        if isinstance(fault, int):
            issuer.status = fault
        else:
            issuer.answer = fault
        await asyncio.to_thread(until_away, gateway)
        async with watching(gateway, token(claims("*"), "ES256", "first")):
            pass
        assert gateway.status()["ready"]


def until_away(gateway: GatewayProcess) -> None:
    until = time.monotonic() + PATIENCE_S
    while not gateway.status()["tokens"]["away"]:
        assert time.monotonic() < until, "it never notices"
        time.sleep(0.05)


async def test_a_gateway_without_keys_so_far_is_not_ready_and_says_when_to_come_again(redis_url: str, tmp_path: Path) -> None:
    with Issuer().answering() as issuer:
        issuer.status = 503
        gateway = GatewayProcess(redis_url, tmp_path, TIDEBOARD_GATEWAY_AUTH="jwt", TIDEBOARD_GATEWAY_JWKS=issuer.url)
        starting = asyncio.create_task(asyncio.to_thread(gateway.start))
        try:
            await listening(gateway.port)
            held = bearer(token(claims("*"), "ES256", "first"))
            status, headers, body = await request(gateway.port, "/api/v1/dashboards", **held)
            assert status == 503
            assert (error(body), headers["retry-after"]) == ("unavailable", "2")
            assert "no key" in gateway.status()["reason"]
            issuer.status = 200
            await starting  # ready
            assert await admitted(gateway, token(claims("*"), "ES256", "first")) == (200,)
        finally:
            gateway.stop()


async def listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "needs keys"),
        ({"KEY_FILE": "{folder}/none"}, "no such file"),
        ({"KEY_FILE": "{folder}/secret"}, "neither PEM"),
        ({"SECRET_FILE": "{folder}/key.pem"}, "no secret"),
        ({"JWKS": "ftp://id.example/"}, "https://"),
        ({"SECRET_FILE": "{folder}/secret", "ALGORITHMS": "RS256"}, "ALGORITHMS"),
        ({"SECRET_FILE": "{folder}/secret", "TRUSTED_PROXIES": "10.0.0.0/99"}, "TRUSTED_PROXIES"),
    ],
)
def test_a_gateway_that_could_let_nobody_in_does_not_start(
    redis_url: str, folder: Path, tmp_path: Path, environ: dict[str, str], reason: str
) -> None:
    named = {f"TIDEBOARD_GATEWAY_{name}": value.format(folder=folder) for name, value in environ.items()}
    gateway = GatewayProcess(redis_url, tmp_path, TIDEBOARD_GATEWAY_AUTH="jwt", **named)
    with pytest.raises(AssertionError, match="the gateway ended"):
        gateway.start()
    said = gateway.said()
    assert len(said) == 1, "a sentence, not a traceback"
    assert reason in said[0]


# Pages of other hosts.


async def test_pages_of_other_hosts(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, origins="https://wall.example,*")
    cookie = {"Cookie": f"tideboard_token={good()}"}
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        async with watching(gateway, headers=cookie, origin=Origin("https://wall.example")):
            pass
        assert await refused(gateway, headers=cookie, origin=Origin("https://evil.example")) == 401, "* does not count cookies"
        async with watching(gateway, good(), origin=Origin("https://evil.example")):
            pass
        named = await request(gateway.port, "/api/v1/dashboards", Origin="https://wall.example", **cookie)
        anyone = await request(gateway.port, "/api/v1/dashboards", Origin="https://evil.example", **bearer(good()))
        by_cookie = await request(gateway.port, "/api/v1/dashboards", Origin="https://evil.example", **cookie)
        assert [status for status, *_ in (named, anyone, by_cookie)] == [200, 200, 401]
        assert shared(named[1]) == ("https://wall.example", "true")
        assert shared(anyone[1]) == ("*", None)
        assert "Origin" in named[1]["vary"]
        asking = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        status, headers, body = await request(
            gateway.port, "/api/v1/dashboards", "OPTIONS", Origin="https://wall.example", **asking
        )
        assert (status, body, shared(headers)) == (204, b"", ("https://wall.example", "true"))
        assert "Authorization" in headers["access-control-allow-headers"]


async def test_pages_that_nobody_named_read_nothing(gateway: GatewayProcess) -> None:
    for method in ("GET", "OPTIONS"):
        more = {"Access-Control-Request-Method": "GET"} if method == "OPTIONS" else {}
        status, headers, _ = await request(
            gateway.port, "/api/v1/dashboards", method, Origin="https://evil.example", **more, **bearer(good())
        )
        assert (status, shared(headers)) == (403, (None, None))


def shared(headers: dict[str, str]) -> tuple[str | None, str | None]:
    return headers.get("access-control-allow-origin"), headers.get("access-control-allow-credentials")


# How many.


async def test_one_token_holds_so_many_connections(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, connections_per_token="2")
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        async with watching(gateway, good()), watching(gateway, good()) as second:
            assert await refused(gateway, good()) == 503
            assert await admitted(gateway, good(sub="eve")) == (200,)
            await second.close()
            await let_in(gateway, good())


async def let_in(gateway: GatewayProcess, held: str) -> None:
    """Once it has noticed who has gone."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(InvalidStatus):
            await admitted(gateway, held)
            return
    raise AssertionError("nobody gets in any more")


async def test_one_address_behind_a_proxy_holds_so_many(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, connections_per_address="1", trusted_proxies="127.0.0.0/8")
    ada, eve = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "1.1.1.1, 203.0.113.2"}
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        async with watching(gateway, good(), headers=ada), watching(gateway, good(), headers=eve):
            assert await refused(gateway, good(), headers=ada) == 503
            assert await refused(gateway, good(), headers={"X-Forwarded-For": "9.9.9.9, 203.0.113.2"}) == 503
            assert await refused(gateway, good(), headers={**ada, "Forwarded": "for=9.9.9.9"}) == 503
        await let_in(gateway, good())


async def test_a_crowd_is_told_when_to_come_again(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, accepts="0.5", accepts_at_once="3")
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        for _ in range(3):
            await admitted(gateway, good())
        with pytest.raises(InvalidStatus) as caught:
            await admitted(gateway, good())
        assert caught.value.response.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) in (2, 3)
        assert await refused(gateway) == 401, "who has no token does not use up what others need"
        found = await asyncio.to_thread(metrics_at, gateway.admin)
        assert [found["sockets_refused_total", (status,)] for status in ("503", "401")] == [1, 1]


async def test_one_user_is_told_when_to_come_again_and_others_are_let_in(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, accepts_per_token="0.02")
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        await admitted(gateway, good())
        with pytest.raises(InvalidStatus) as caught:
            await admitted(gateway, good(jti="another"))
        assert caught.value.response.status_code == 503
        assert 30 < int(caught.value.response.headers["retry-after"]) <= 51
        status, headers, body = await request(gateway.port, EVENTS.format("team-a"), **bearer(good()))
        assert (status, error(body), int(headers["retry-after"]) > 30) == (503, "unavailable", True)
        assert await refused(gateway, good(), path="/api/v1/plotly?dashboard=team-a&panel=cpu", protocols=()) == 503
        assert await admitted(gateway, good(sub="eve")) == (200,)


async def test_requests_take_from_what_their_user_may_open(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, accepts_per_token="0.02")
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        held, name = bearer(good()), "/api/v1/dashboards/team-a"
        assert (await request(gateway.port, f"{name}/snapshot", **held))[0] == 200
        for path in (
            "/api/v1/dashboards",
            name,
            f"{name}/snapshot",
            f"{name}/snapshot?from=-1m",
            f"{name}/snapshot?format=csv",
        ):
            status, headers, body = await request(gateway.port, path, **held)
            assert (path, status, error(body)) == (path, 503, "unavailable")
            assert 30 < int(headers["retry-after"]) <= 51
        assert await refused(gateway, good()) == 503
        assert (await request(gateway.port, "/api/v1/dashboards", **bearer(good(sub="eve"))))[0] == 200
        for path in ("/", "/d/team-a", "/assets/app-1234.js"):
            assert (await request(gateway.port, path, **held))[0] == 200
        assert (await request(gateway.admin, "/readyz"))[0] == 200


async def test_who_says_too_much_is_closed_and_others_are_not(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, messages="1", messages_at_once="20")
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        async with watching(gateway, good()) as quiet, watching(gateway, good()) as loud:
            for _ in range(30):
                await say(loud, "ping")
            assert await closing(loud) == 4005
            await say(quiet, "ping")
            await hear(quiet, "pong")


async def test_a_socket_has_so_many_dashboards(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, dashboards_per_socket="1")
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        async with watching(gateway, good("*")) as socket:
            await say(socket, "subscribe", dashboard="team-a")
            await say(socket, "subscribe", dashboard="host")
            assert (await hear(socket, "error"))["dashboard"] == "host"


async def test_a_handshake_that_does_not_come_in_is_cut(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = settings(folder, request_deadline="0.2")
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        async with watching(gateway, good()) as socket:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
            writer.close()
            await say(socket, "ping")
            await hear(socket, "pong")


# What is written down.


async def test_no_token_is_in_the_log(redis_url: str, folder: Path, tmp_path: Path) -> None:
    environ = {**settings(folder, token_query="t"), "TIDEBOARD_LOG_LEVEL": "debug"}
    good_one, bad_one = good(jti="good-one"), token(claims("*", jti="bad-one"), "RS256", number=1)
    with running(GatewayProcess(redis_url, tmp_path, **environ)) as gateway:
        for held in (good_one, bad_one):
            for how in (
                {"headers": bearer(held)},
                {"protocols": (LIVE, f"tideboard.token.{held}")},
                {"headers": {"Cookie": f"tideboard_token={held}"}},
                {"path": f"/api/v1/live?t={held}"},
            ):
                with contextlib.suppress(InvalidStatus):
                    async with watching(gateway, **how) as socket:
                        await say(socket, "token", token=bad_one)
                        await socket.send(json.dumps({"type": "token", "token": [bad_one]}))
                        await hear(socket, "error")
            for headers in (bearer(held), {"Cookie": f"tideboard_token={held}"}):
                await request(gateway.port, "/api/v1/dashboards", **headers)
                await request(gateway.port, f"/api/v1/dashboards?t={held}")
                await request(gateway.port, f"/api/v1/dashboards/{held}", **headers)
        said = "\n".join(gateway.said())
    assert re.search(r'"level": ?"debug"|not let in', said), "the log is on"
    for held in (good_one, bad_one):
        for part in held.split("."):
            assert part not in said
    assert SECRET.decode() not in said
