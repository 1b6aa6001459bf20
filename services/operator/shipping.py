"""Shipping: makes resources of the dashboards that come with an installation, at the start and when the files are others. What is done is `shipped`'s to tell."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from services.contract.claims import Kind
from services.operator.cluster import ClusterError
from services.operator.resources import Body
from services.operator.shipped import Owner, ShippedError, plan, resources

log = structlog.get_logger()

AGAIN_S: Final = (1.0, 30.0)
LOOK_S: Final = 10.0  # kubelets bring what has changed within a minute or two
_INVALID: Final = (400, 422)


class Shelf(Protocol):
    """The part of the API server that this needs: `cluster.Cluster`, or a test's own."""

    async def uid_of_config(self, namespace: str, name: str) -> str: ...
    async def list(self, kind: Kind, namespace: str) -> list[Body]: ...
    async def apply(self, kind: Kind, namespace: str, body: Body) -> Body: ...
    async def delete(self, kind: Kind, namespace: str, body: Body) -> None: ...


async def ship(
    cluster: Shelf, namespace: str, folder: Path, owner: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Until cancelled. owner: name of the ConfigMap whose files lie in the folder."""
    done: dict[str, str] | None = None
    pause = AGAIN_S[0]
    while True:
        texts = _read(folder)
        try:
            if texts != done:
                await _ship(cluster, namespace, texts, owner)
        except ClusterError as error:
            log.warning("dashboards of the installation are not applied yet", reason=str(error))
            await sleep(pause)
            pause = min(pause * 2, AGAIN_S[1])
            continue
        except ShippedError as error:
            log.warning("dashboards of the installation cannot be applied", reason=str(error))
        done, pause = texts, AGAIN_S[0]
        await sleep(LOOK_S)


async def _ship(cluster: Shelf, namespace: str, texts: Mapping[str, str], name: str) -> None:
    owner = Owner(name, await cluster.uid_of_config(namespace, name))
    decided = plan(resources(texts, owner), await cluster.list("Dashboard", namespace), owner)
    for foreign in decided.foreign:
        log.warning("a dashboard of the installation is not applied: somebody else has made one of that name", name=foreign)
    for body in decided.apply:
        await _apply(cluster, namespace, body)
    for body in decided.delete:
        await cluster.delete("Dashboard", namespace, body)
    log.info("dashboards of the installation", applied=_names(decided.apply), deleted=_names(decided.delete))


async def _apply(cluster: Shelf, namespace: str, body: Body) -> None:
    """One that is refused for good does not keep the others away."""
    try:
        await cluster.apply("Dashboard", namespace, body)
    except ClusterError as error:
        if error.code not in _INVALID:
            raise
        log.error("a dashboard of the installation is refused", name=body["metadata"]["name"], reason=str(error))


def _names(bodies: tuple[Body, ...]) -> list[Any]:
    return [body["metadata"]["name"] for body in bodies]


def _read(folder: Path) -> dict[str, str]:
    """Files by name. A mounted ConfigMap also has folders of its own, whose names begin with two dots."""
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml") if not path.name.startswith(".")}
