"""An installation is upgraded in front of 300 viewers: nobody is shown a wrong cell, and no sample is lost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, Final

import pytest
import uvloop

from tests.audience.connection import peak
from tests.cluster import operating
from tests.cluster.archives import VERSIONS
from tests.cluster.cluster import Cluster, unique
from tests.cluster.hall import VALUES, Hall, hall
from tests.cluster.release import Release, tagged

pytestmark = pytest.mark.node
KINDS: Final = {
    "ingestor": "deployment",
    "gateway": "deployment",
    "operator": "deployment",
    "aggregator": "statefulset",
    "collector": "daemonset",
}
SERVERS: Final = ("kafka", "redis")
MISSED_S: Final = 10.0  # for how long viewers bear silence where a node vanishes


@pytest.fixture(scope="module")
def installed(cluster: Cluster, images: Mapping[str, str]) -> Iterator[Release]:
    with operating.definitions(cluster), cluster.namespace(unique("rollouts")) as namespace:
        release = Release(cluster, namespace)
        release.install(VALUES)
        yield release


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """uvloop, as services have it: the audience takes a good part of the time."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


@contextlib.asynccontextmanager
async def reported(found: Hall, what: str) -> AsyncIterator[None]:
    """What viewers and producers noticed of it, printed for whoever looks."""
    begun = time.monotonic()
    yield
    audience, reconnects = found.audience, [at for at in found.audience.opened if at >= begun]
    refused = {producer.name: dict(producer.refused) for producer in found.producers}
    print(
        f"\n{what}: {time.monotonic() - begun:.1f} s; {len(audience.told)} times somebody was asked to move, {len(reconnects)} connections, "
        f"{peak(reconnects)} in the busiest second; the longest silence {max(seat.silence for seat in audience.seats):.2f} s; "
        f"lost {audience.lost}, refused {audience.refused}; producers were refused {refused}; "
        f"ended: {sorted((life.component, life.code) for life in found.pods.ended)}"
    )


def ended_well(found: Hall) -> None:
    """Every pod ended by itself within its grace; Java says that it was asked to."""
    assert [(life.component, life.code) for life in found.pods.ended if life.code not in (0, 143)] == []


def unseen(found: Hall, least: int) -> None:
    """Neither viewers nor producers were ever without a pod. least: gateways and ingestors that were always there."""
    ended_well(found)
    assert min(found.pods.least[component] for component in ("ingestor", "gateway")) >= least
    assert (found.audience.lost, found.audience.refused) == (0, 0)
    assert not found.producers[0].refused


def test_an_upgrade_of_everything_is_noticed_by_nobody(installed: Release, images: Mapping[str, str]) -> None:
    async def story() -> None:
        async with hall(installed) as found, reported(found, "upgrade"):
            await asyncio.to_thread(installed.upgrade, {**VALUES, **tagged(VERSIONS[1])})
            await found.left()
            assert {each.image for each in found.pods.pods.values() if each.component in KINDS} == {images[VERSIONS[1]]}
            assert found.pods.together >= {"ingestor", "gateway", "aggregator"}, "both versions run side by side"
            unseen(found, 2)

    run(story)
