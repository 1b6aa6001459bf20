"""The API server, as far as the operator asks it for anything but the watch: lists, statuses, events. No retries: only the caller knows when."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import kopf
import orjson

from services.contract.claims import Kind
from services.contract.document import API_VERSION
from services.operator.resources import PLURALS, Body, Resource
from services.operator.statuses import Event
from services.runtime.service import StartupError

MANAGER: Final = "tideboard-operator"
PAGE: Final = 500
ANSWER_S: Final = 10.0
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML, too
_UNAUTHORIZED: Final = 401
_GONE: Final = (404, 409)


class ClusterError(Exception):
    """The API server does not answer, or says no. code: its HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Cluster:
    """A client with a pool of connections. login: asked for at the start, and again when the API server no longer knows us."""

    def __init__(self, login: Callable[[], kopf.ConnectionInfo]) -> None:
        self._login = login
        self._info = login()
        self._session: aiohttp.ClientSession | None = None

    @property
    def namespace(self) -> str | None:
        """Where we are ourselves."""
        return self._info.default_namespace

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def list(self, kind: Kind, namespace: str) -> list[Body]:
        """All resources of a kind in a namespace, '' for all namespaces: as they are now, not as some cache has them."""
        found: list[Body] = []
        query = {"limit": str(PAGE)}
        while True:
            page = await self._ask("GET", _path(kind, namespace), query)
            found += page.get("items") or []
            more = page.get("metadata", {}).get("continue")
            if not more:
                return found
            query["continue"] = more

    async def patch_status(self, resource: Resource, patch: Mapping[str, Any]) -> Body:
        """The resource with its new status. Another one that has its name by now is not touched."""
        body = {**patch, "metadata": {"uid": resource.uid}}
        path = f"{_path(resource.kind, resource.namespace)}/{resource.name}/status"
        return await self._ask("PATCH", path, {"fieldManager": MANAGER}, body)

    async def post_event(self, resource: Resource, event: Event) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {
            "apiVersion": API_VERSION, "kind": resource.kind, "namespace": resource.namespace, "name": resource.name,
            "uid": resource.uid, "resourceVersion": str(resource.version),
        }  # fmt: skip
        body = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"generateName": f"{resource.name}.", "namespace": resource.namespace},
            "involvedObject": about, "type": event.type, "reason": event.reason, "message": event.message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now, "source": {"component": MANAGER}, "reportingComponent": MANAGER,
        }  # fmt: skip
        await self._ask("POST", f"/api/v1/namespaces/{resource.namespace}/events", {"fieldManager": MANAGER}, body)

    async def apply(self, kind: Kind, namespace: str, body: Body) -> Body:
        """Server-side apply: the object as it is then. What others have set and this does not say stays."""
        path, query = f"{_path(kind, namespace)}/{body['metadata']['name']}", {"fieldManager": MANAGER, "force": "true"}
        return await self._ask("PATCH", path, query, body, APPLY)

    async def delete(self, kind: Kind, namespace: str, body: Body) -> None:
        """This very object, and not another one that has its name by now. Nothing where it is gone."""
        path, only = f"{_path(kind, namespace)}/{body['metadata']['name']}", {"uid": body["metadata"]["uid"]}
        try:
            await self._ask("DELETE", path, {}, {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": only})
        except ClusterError as error:
            if error.code not in _GONE:
                raise

    async def uid_of_config(self, namespace: str, name: str) -> str:
        """Of a ConfigMap."""
        found = await self._ask("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}", {})
        return str(found["metadata"]["uid"])

    async def _ask(
        self, verb: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None, patch: str = MERGE
    ) -> dict[str, Any]:
        code, answer = await self._send(verb, path, query, body, patch)
        if code == _UNAUTHORIZED:  # the token may have been replaced since it was read
            await self._reopen()
            code, answer = await self._send(verb, path, query, body, patch)
        if code >= 400:
            raise ClusterError(f"{verb} {path}: {answer.get('message') or code}", code)
        return answer

    async def _send(
        self, verb: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None, patch: str
    ) -> tuple[int, dict[str, Any]]:
        kind = patch if verb == "PATCH" else "application/json"
        data = None if body is None else orjson.dumps(body)
        url = self._info.server.rstrip("/") + path
        try:
            async with self._open().request(verb, url, params=query, data=data, headers={"Content-Type": kind}) as response:
                return response.status, _object(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ClusterError(f"the API server does not answer: {str(error) or type(error).__name__}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._info.as_ssl_context()),
                headers={**self._info.as_http_headers(), "User-Agent": MANAGER, "Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=ANSWER_S),
                proxy=self._info.proxy_url,
            )
        return self._session

    async def _reopen(self) -> None:
        try:
            self._info = await asyncio.to_thread(self._login)
        except StartupError as error:  # no reason to end: the file may come back
            raise ClusterError(str(error), _UNAUTHORIZED) from None
        session, self._session = self._session, None
        if session:
            await session.close()


def _path(kind: Kind, namespace: str) -> str:
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{API_VERSION}{within}/{PLURALS[kind]}"


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
