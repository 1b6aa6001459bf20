"""A small client of the Kubernetes API for tests: the verbs as methods, objects as dictionaries, an answer that is no 2xx as an error.

It is not kubectl, which tests use for what people do with kubectl. It has one connection at a time, to be used by one thread.
"""

import base64
import contextlib
import http.client
import json
import ssl
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")
Object = dict[str, Any]
OWNER: Final = "tests"
_TIMEOUT_S: Final = 30
_GLANCE_S: Final = 0.1


class ApiError(Exception):
    """An answer that is no success. code: HTTP status; reason and message: as the API server tells them."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind live. group: "v1" or "apps/v1"; plural: "pods"."""

    group: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        root = f"/api/{self.group}" if "/" not in self.group else f"/apis/{self.group}"
        inner = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{inner}/{self.plural}" + (f"/{name}" if name else "")


class Api:
    """`url`: of the server; `context`: of TLS with the client's certificate, None for plain HTTP."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        self._at = urllib.parse.urlsplit(url)
        self._context = context
        self._connection: http.client.HTTPConnection | None = None
        self._resources: dict[str, dict[str, Resource]] = {}

    def get(self, path: str) -> Object:
        return dict(json.loads(self.request("GET", path) or "{}"))

    def text(self, path: str) -> str:
        """What is no JSON: logs, readiness."""
        return self.request("GET", path)

    def items(self, path: str) -> list[Object]:
        return list(self.get(path).get("items") or [])

    def post(self, path: str, body: Object) -> Object:
        return dict(json.loads(self.request("POST", path, body)))

    def patch(self, path: str, body: Any, kind: str = "application/merge-patch+json") -> Object:
        return dict(json.loads(self.request("PATCH", path, body, kind)))

    def apply(self, objects: Iterable[Object], namespace: str = "default", *, force: bool = True) -> None:
        """Server-side apply, one after the other. An object that names no namespace goes to `namespace`."""
        for each in objects:
            path = self._where(each, namespace)
            query = f"?fieldManager={OWNER}&force={str(force).lower()}"
            self.request("PATCH", path + query, each, "application/apply-patch+yaml")

    def delete(self, path: str, **options: Any) -> None:
        """Ask for its deletion; that it is gone already is well."""
        with contextlib.suppress(NotFoundError):
            self.request("DELETE", path, options or None)

    def request(self, verb: str, path: str, body: Any = None, kind: str = "application/json") -> str:
        """One request; it is sent anew where the server had closed the connection that we kept."""
        sent = None if body is None else json.dumps(body)
        headers = {"Accept": "application/json, */*", **({"Content-Type": kind} if sent is not None else {})}
        for kept in (self._connection, None):
            if kept is None:
                self._connection = self._connect()
            try:
                assert self._connection is not None
                self._connection.request(verb, path, sent, headers)
                answer = self._connection.getresponse()
                said = answer.read().decode()
                break
            except (http.client.HTTPException, OSError):
                self.close()
                if kept is None:
                    raise
        if answer.status >= 300:
            raise _error(answer.status, said)
        return said

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._at.hostname or "", self._at.port
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=self._context)

    def _where(self, each: Object, namespace: str) -> str:
        resource = self._resource(each["apiVersion"], each["kind"])
        return resource.path(each["metadata"].get("namespace", namespace), each["metadata"]["name"])

    def _resource(self, group: str, kind: str) -> Resource:
        if kind not in self._resources.get(group, {}):
            told = self.get(Resource(group, "", namespaced=False).path().rstrip("/"))["resources"]
            kinds = {
                each["kind"]: Resource(group, each["name"], each["namespaced"]) for each in told if "/" not in each["name"]
            }
            self._resources[group] = kinds
        return self._resources[group][kind]


class NotFoundError(ApiError):
    """404."""


class ConflictError(ApiError):
    """409: it is there already, or has changed, or is another's."""


def of_kubeconfig(path: Path) -> Api:
    """The API with the client certificate of a kubeconfig that the test cluster has written."""
    told = json.loads(path.read_text())
    cluster, user = told["clusters"][0]["cluster"], told["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as both:  # the ssl module reads certificates from files only
        both.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        both.flush()
        context.load_cert_chain(both.name)
    return Api(cluster["server"], context)


def until(what: str, found: Callable[[], T | None], within_s: float = 120) -> T:
    """Ask again and again until there is an answer that is not nothing; AssertionError when there is none in time.

    An error of the API counts as no answer, and is told at the end.
    """
    deadline, last = time.monotonic() + within_s, ""
    while True:
        try:
            if answer := found():
                return answer
        except (ApiError, OSError) as error:
            last = f"; the last error: {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s:.0f} s in vain: {what}{last}")
        time.sleep(_GLANCE_S)


def _error(code: int, said: str) -> ApiError:
    try:
        told = json.loads(said)
        reason, message = told.get("reason", ""), told.get("message", "")
    except (json.JSONDecodeError, AttributeError):
        reason, message = "", said
    return {404: NotFoundError, 409: ConflictError}.get(code, ApiError)(code, reason, message)
