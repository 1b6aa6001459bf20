"""Shipping: makes resources of the dashboards that come with an installation: at the start, when the files are others, and when one is gone.

What is done is `shipped`'s to tell. What others have changed of one stays as they want it until the files are others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Protocol

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
    cluster: Shelf,
    namespace: str,
    folder: Path,
    owner: str,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    there: Callable[[], Collection[str] | None] = lambda: None,
) -> None:
    """Until cancelled. owner: name of the ConfigMap whose files lie in the folder. there: names of the namespace's Dashboards, None where nobody looks."""
    done: dict[str, str] | None = None
    made = set[str]()
    pause = AGAIN_S[0]
    while True:
        texts, held = _read(folder), there()
        gone = set[str]() if held is None else made.difference(held)
        try:
            if texts != done:
                made = await _ship(cluster, namespace, texts, owner)
            elif gone:
                made = (made - gone) | await _ship(cluster, namespace, texts, owner, gone)
        except ClusterError as error:
            log.warning("dashboards of the installation are not applied yet", reason=str(error))
            await sleep(pause)
            pause = min(pause * 2, AGAIN_S[1])
            continue
        except ShippedError as error:
            log.warning("dashboards of the installation cannot be applied", reason=str(error))
            made = set()
        done, pause = texts, AGAIN_S[0]
        await sleep(LOOK_S)


async def _ship(
    cluster: Shelf, namespace: str, texts: Mapping[str, str], name: str, only: Collection[str] | None = None
) -> set[str]:
    """Which are there afterwards, those of others included. only: names of which alone something is made; None: of all."""
    owner = Owner(name, await cluster.uid_of_config(namespace, name))
    decided = plan(resources(texts, owner), await cluster.list("Dashboard", namespace), owner)
    for foreign in decided.foreign:
        log.warning("a dashboard of the installation is not applied: somebody else has made one of that name", name=foreign)
    wanted = [body for body in decided.apply if only is None or body["metadata"]["name"] in only]
    made = [body["metadata"]["name"] for body in wanted if await _apply(cluster, namespace, body)]
    for body in decided.delete:
        await cluster.delete("Dashboard", namespace, body)
    log.info("dashboards of the installation", applied=made, deleted=[body["metadata"]["name"] for body in decided.delete])
    return {*made, *decided.foreign}


async def _apply(cluster: Shelf, namespace: str, body: Body) -> bool:
    """False where it is refused for good, which does not keep the others away."""
    try:
        await cluster.apply("Dashboard", namespace, body)
    except ClusterError as error:
        if error.code not in _INVALID:
            raise
        log.error("a dashboard of the installation is refused", name=body["metadata"]["name"], reason=str(error))
        return False
    return True


def _read(folder: Path) -> dict[str, str]:
    """Files by name. A mounted ConfigMap also has folders of its own, whose names begin with two dots."""
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml") if not path.name.startswith(".")}
