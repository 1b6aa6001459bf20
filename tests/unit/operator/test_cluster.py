"""The client of the API server, against a server of HTTP that says what the test wants. The real one is in tests/cluster."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.operator.cluster import Cluster, ClusterError
from services.operator.statuses import Event
from services.runtime.service import StartupError
from tests.unit.operator.objects import body, resource

Answer = tuple[int, object]


class Server:
    """Gives the answers one after the other, the last one again and again, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        sent = json.loads(text) if text else None
        self.asked.append((request.method, request.path, dict(request.query), dict(request.headers), sent))
        code, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=code, text=said if isinstance(said, str) else json.dumps(said))


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    told = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", told.answer)
    http = TestServer(application)
    await http.start_server()
    yield told, str(http.make_url("/"))
    await http.close()


def login(url: str, tokens: list[str]) -> Callable[[], kopf.ConnectionInfo]:
    """The next token at each login, as a service account's is replaced now and then."""
    return lambda: kopf.ConnectionInfo(server=url, token=tokens.pop(0) if len(tokens) > 1 else tokens[0])


async def test_a_list_comes_in_pages(server: tuple[Server, str]) -> None:
    told, url = server
    told.answers = [
        (200, {"metadata": {"continue": "more"}, "items": [body("a"), body("b")]}),
        (200, {"metadata": {}, "items": [body("c")]}),
    ]
    async with Cluster(login(url, ["t"])) as cluster:
        assert [item["metadata"]["name"] for item in await cluster.list("Dashboard", "shops")] == ["a", "b", "c"]
        told.answers = [(200, {"items": None})]
        assert await cluster.list("Source", "") == []
    first, second, third = told.asked
    assert first[:3] == ("GET", "/apis/tideboard.dev/v1alpha1/namespaces/shops/dashboards", {"limit": "500"})
    assert second[2] == {"limit": "500", "continue": "more"}
    assert third[1] == "/apis/tideboard.dev/v1alpha1/sources"


async def test_a_token_that_has_run_out_is_read_anew(server: tuple[Server, str]) -> None:
    told, url = server
    told.answers = [(401, {"message": "Unauthorized"}), (200, {"items": []})]
    async with Cluster(login(url, ["old", "new"])) as cluster:
        assert await cluster.list("Dashboard", "a") == []
    assert [asked[3]["Authorization"] for asked in told.asked] == ["Bearer old", "Bearer new"]


async def test_who_is_not_known_at_all_is_told_so(server: tuple[Server, str]) -> None:
    told, url = server
    told.answers = [(401, {"message": "Unauthorized"})]
    async with Cluster(login(url, ["wrong"])) as cluster:
        with pytest.raises(ClusterError, match="Unauthorized") as refused:
            await cluster.list("Dashboard", "a")
    assert (refused.value.code, len(told.asked)) == (401, 2)


async def test_a_kubeconfig_that_is_gone_when_it_is_read_anew_is_no_reason_to_end(server: tuple[Server, str]) -> None:
    told, url = server
    told.answers = [(401, {}), (200, {"items": []})]
    logins: list[kopf.ConnectionInfo | StartupError] = [
        kopf.ConnectionInfo(server=url, token="t"), StartupError("gone"), kopf.ConnectionInfo(server=url, token="new"),
    ]  # fmt: skip

    def log_in() -> kopf.ConnectionInfo:
        found = logins.pop(0)
        if isinstance(found, StartupError):
            raise found
        return found

    async with Cluster(log_in) as cluster:
        with pytest.raises(ClusterError, match="gone"):
            await cluster.list("Dashboard", "a")
        told.answers = [(401, {}), (200, {"items": []})]
        assert await cluster.list("Dashboard", "a") == []


@pytest.mark.parametrize("said", [{"message": "no"}, {}, [], "<html>"])
async def test_a_refusal_of_any_shape_is_one(server: tuple[Server, str], said: object) -> None:
    told, url = server
    told.answers = [(503, said)]
    async with Cluster(login(url, ["t"])) as cluster:
        with pytest.raises(ClusterError, match=r"GET .*/dashboards: (no|503)") as refused:
            await cluster.list("Dashboard", "a")
    assert refused.value.code == 503


async def test_a_server_that_is_not_there_is_one_too() -> None:
    async with Cluster(login("http://127.0.0.1:1", ["t"])) as cluster:
        with pytest.raises(ClusterError, match="the API server does not answer") as refused:
            await cluster.list("Dashboard", "a")
    assert refused.value.code == 0


async def test_a_status_is_for_the_object_that_was_meant_and_no_other_of_its_name(server: tuple[Server, str]) -> None:
    told, url = server
    told.answers = [(200, body())]
    async with Cluster(login(url, ["t"])) as cluster:
        await cluster.patch_status(resource(uid="it"), {"status": {"panels": 1}})
    verb, path, query, headers, sent = told.asked[0]
    assert (verb, path) == ("PATCH", "/apis/tideboard.dev/v1alpha1/namespaces/a/dashboards/shop/status")
    assert (query, headers["Content-Type"]) == ({"fieldManager": "tideboard-operator"}, "application/merge-patch+json")
    assert sent == {"metadata": {"uid": "it"}, "status": {"panels": 1}}


async def test_an_event_names_its_object(server: tuple[Server, str]) -> None:
    told, url = server
    told.answers = [(201, {})]
    async with Cluster(login(url, ["t"])) as cluster:
        await cluster.post_event(resource(uid="it"), Event("Warning", "Invalid", "spec: bad"))
    _, path, _, _, sent = told.asked[0]
    assert path == "/api/v1/namespaces/a/events"
    assert (sent["type"], sent["reason"], sent["message"]) == ("Warning", "Invalid", "spec: bad")
    assert (sent["involvedObject"]["kind"], sent["involvedObject"]["uid"]) == ("Dashboard", "it")
