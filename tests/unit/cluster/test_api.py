"""The client of the API, against a server that says what it was asked."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.cluster.api import Api, ApiError, ConflictError, NotFoundError, Resource, until

RESOURCES = {
    "resources": [{"name": "pods", "kind": "Pod", "namespaced": True}, {"name": "pods/log", "kind": "Pod", "namespaced": True}]
}


class Server(BaseHTTPRequestHandler):
    """It keeps connections, and closes them without a word after /last."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str, Any, str]]
    connections = 0

    def setup(self) -> None:
        type(self).connections += 1
        super().setup()

    def do_GET(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.command, self.path, json.loads(sent) if sent else None, self.headers.get("Content-Type", "")))
        codes = {"/missing": 404, "/taken": 409, "/broken": 500}
        code = codes.get(self.path, 200)
        said = {"reason": "Because", "message": "it is so"} if code >= 300 else RESOURCES
        text = b"<html>" if code == 500 else json.dumps(said).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = self.path == "/last"

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[Api, type[Server]]]:
    handler = type("Handler", (Server,), {"asked": [], "connections": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        api = Api(f"http://127.0.0.1:{listening.server_port}")
        yield api, handler
        api.close()
        listening.shutdown()
        thread.join()


def test_objects_live_where_their_group_and_namespace_say() -> None:
    assert Resource("v1", "pods", namespaced=True).path("mine", "one") == "/api/v1/namespaces/mine/pods/one"
    assert Resource("apps/v1", "deployments", namespaced=True).path("mine") == "/apis/apps/v1/namespaces/mine/deployments"
    assert Resource("v1", "nodes", namespaced=False).path("mine", "one") == "/api/v1/nodes/one"


def test_what_is_applied_goes_to_its_own_namespace_or_else_to_ours(server: tuple[Api, type[Server]]) -> None:
    api, seen = server
    here = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "here"}}
    there = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "there", "namespace": "theirs"}}
    api.apply([here, there], "ours")
    patches = [asked for asked in seen.asked if asked[0] == "PATCH"]
    assert [path.partition("?")[0] for _, path, _, _ in patches] == [
        "/api/v1/namespaces/ours/pods/here",
        "/api/v1/namespaces/theirs/pods/there",
    ]
    assert [body for _, _, body, _ in patches] == [here, there]
    assert {kind for _, _, _, kind in patches} == {"application/apply-patch+yaml"}
    assert len([asked for asked in seen.asked if asked[0] == "GET"]) == 1, "the kinds of a group are asked for once"


@pytest.mark.parametrize(
    ("path", "error", "code"), [("/missing", NotFoundError, 404), ("/taken", ConflictError, 409), ("/broken", ApiError, 500)]
)
def test_an_answer_that_is_no_success_is_an_error_with_the_servers_words(
    server: tuple[Api, type[Server]], path: str, error: type[ApiError], code: int
) -> None:
    with pytest.raises(error) as told:
        server[0].get(path)
    assert told.value.code == code
    assert told.value.message in ("it is so", "<html>")


def test_what_is_gone_already_is_well_deleted(server: tuple[Api, type[Server]]) -> None:
    server[0].delete("/missing", gracePeriodSeconds=1)
    assert server[1].asked == [("DELETE", "/missing", {"gracePeriodSeconds": 1}, "application/json")]


def test_one_connection_is_kept_and_made_anew_when_the_server_has_closed_it(server: tuple[Api, type[Server]]) -> None:
    api, seen = server
    for path in ("/one", "/two", "/last", "/three"):
        api.get(path)
    assert seen.connections == 2
    assert [path for _, path, _, _ in seen.asked] == ["/one", "/two", "/last", "/three"]


def test_waiting_ends_with_the_first_answer_and_an_error_is_none() -> None:
    answers = iter([None, ApiError(503, "", "not yet"), "here"])

    def found() -> str | None:
        answer = next(answers)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    assert until("something", found) == "here"


def test_waiting_in_vain_tells_what_for_and_the_last_error() -> None:
    def found() -> None:
        raise ApiError(503, "Unavailable", "etcd is away")

    with pytest.raises(AssertionError, match="in vain: a miracle; the last error: 503 Unavailable: etcd is away"):
        until("a miracle", found, 0)
