"""An installation is upgraded, restarted, scaled, and drained, and a node is cut off, in front of 300 viewers: nobody is shown a wrong cell, and no sample is lost.

One installation for all of it, in this order.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

import pytest
import uvloop

from tests.audience.connection import peak
from tests.cluster import operating
from tests.cluster.api import ApiError, until
from tests.cluster.archives import VERSIONS
from tests.cluster.cluster import Cluster, condition, ready_after, unique
from tests.cluster.containers import used
from tests.cluster.hall import PATIENCE_S, VALUES, Hall, hall
from tests.cluster.node import Machine
from tests.cluster.release import Release, tagged

pytestmark = [pytest.mark.node, pytest.mark.sandbox]
KINDS: Final = {
    "ingestor": "deployment",
    "gateway": "deployment",
    "operator": "deployment",
    "aggregator": "statefulset",
    "collector": "daemonset",
    "watcher": "deployment",
}
ALONE: Final = ("operator", "watcher")  # of which one is enough
SERVERS: Final = ("kafka", "redis")
TOLD: Final = 20  # losses and refusals
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
    try:
        yield
    finally:
        print(f"\n{what}: {time.monotonic() - begun:.1f} s; {noticed(found, begun)}")


def noticed(found: Hall, begun: float) -> str:
    audience, reconnects = found.audience, [at for at in found.audience.opened if at >= begun]
    refused = {producer.name: dict(producer.refused) for producer in found.producers}
    return (
        f"{len(audience.told)} times somebody was asked to move, {len(reconnects)} connections, {peak(reconnects)} in the busiest second; "
        f"the longest silence {max(seat.silence for seat in audience.seats):.2f} s; lost {audience.lost}, refused {audience.refused}; "
        f"producers were refused {refused}; ended: {sorted((life.component, life.code) for life in found.pods.ended)}"
        + "".join(f"\n  after {at - begun:.2f} s {what}" for at, what in audience.why[:TOLD])
    )


def ended_well(found: Hall) -> None:
    """Every pod ended by itself within its grace; Java says that it was asked to."""
    assert [(life.component, life.code) for life in found.pods.ended if life.code not in (0, 143)] == []


def unseen(found: Hall, least: int) -> None:
    """Neither viewers nor producers were ever without a pod. least: gateways and ingestors that were always there."""
    ended_well(found)
    assert min(found.pods.least[component] for component in ("ingestor", "gateway")) >= least
    assert (found.audience.lost, found.audience.refused) == (0, 0)
    assert found.audience.snapshots == found.snapshots, "who moves is told what is new, and no more"
    assert not found.producers[0].refused


async def scaled(found: Hall, component: str, *counts: int) -> None:
    """One after the other, each waited for."""
    for count in counts:
        name = f"{KINDS.get(component, 'statefulset')}/{found.release.full(component)}"
        await found.do("scale", name, f"--replicas={count}")
        await found.ready(component, count)


async def rolled(found: Hall, *components: str) -> None:
    names = [f"{KINDS.get(each, 'statefulset')}/{found.release.full(each)}" for each in components]
    await found.do("rollout", "restart", *names)
    for name in names:
        await found.do("rollout", "status", name, f"--timeout={PATIENCE_S:.0f}s")
    await found.left()


async def replaced(found: Hall, *components: str) -> None:
    """A pod of each is deleted, and all are Ready again. kubectl does not wait: one of the same name may be there before it has looked."""
    pods = {each: await asyncio.to_thread(found.release.pods, each) for each in components}
    before = {each: found.pods.gone(each) for each in components}
    await found.do("delete", "pod", "--wait=false", *(pods[each][0]["metadata"]["name"] for each in components))
    for each in components:
        await found.less(each, before[each])
        await found.ready(each, len(pods[each]))


def test_an_upgrade_of_everything_is_noticed_by_nobody(installed: Release, images: Mapping[str, str]) -> None:
    async def story() -> None:
        async with hall(installed) as found, reported(found, "upgrade"):
            await asyncio.to_thread(installed.upgrade, {**VALUES, **tagged(VERSIONS[1])})
            await found.left()
            assert {each.image for each in found.pods.pods.values() if each.component in KINDS} == {images[VERSIONS[1]]}
            assert found.pods.together >= {"ingestor", "gateway", "aggregator"}, "both versions run side by side"
            unseen(found, 2)
            for pod in installed.pods():
                print(f"  {pod['metadata']['name']}: {used(pod)}")

    run(story)


async def refused_a_second(found: Hall, node: str) -> None:
    """The gateway that is not on the node is evicted, and then, as long as nobody has taken its place, the one there may not be."""
    there = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in await asyncio.to_thread(found.release.pods, "gateway")}
    evict, namespace = found.release.cluster.evict, found.release.namespace
    await asyncio.to_thread(evict, namespace, next(pod for at, pod in there.items() if at != node))
    with pytest.raises(ApiError) as refused:
        await asyncio.to_thread(evict, namespace, there[node])
    assert refused.value.code == HTTPStatus.TOO_MANY_REQUESTS


def test_a_node_that_is_drained_is_missed_by_nobody(installed: Release, nodes: list[str]) -> None:
    """Not the one with Kafka and Redis, whose volumes are there. Gateways go one after the other, as their budget says."""

    async def story() -> None:
        async with hall(installed) as found, reported(found, "drain"):
            await refused_a_second(found, nodes[1])
            try:
                await found.do(
                    "drain", nodes[1], "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={PATIENCE_S:.0f}s"
                )
                for component in ("ingestor", "gateway", "aggregator"):
                    await found.ready(component, 2)
                await found.left()
            finally:
                await found.do("uncordon", nodes[1])
            assert found.pods.gone("gateway"), "there was one"
            unseen(found, 1)

    run(story)


def test_a_restart_of_each_component_is_noticed_by_nobody(installed: Release) -> None:
    async def story() -> None:
        async with hall(installed) as found, reported(found, "restart"):
            await rolled(found, *KINDS)
            unseen(found, 2)

    run(story)


def test_pods_that_are_deleted_are_missed_by_nobody(installed: Release) -> None:
    async def story() -> None:
        async with hall(installed) as found, reported(found, "deletion"):
            await replaced(found, *KINDS)
            unseen(found, 1)
            for pod in installed.pods():
                print(f"  {pod['metadata']['name']}: Ready {ready_after(pod):.0f} s after its container began, to the second")

    run(story)


def test_components_grow_and_shrink_and_nobody_notices(installed: Release) -> None:
    async def story() -> None:
        async with hall(installed) as found, reported(found, "scaling"):
            async with asyncio.TaskGroup() as group:
                group.create_task(scaled(found, "ingestor", 3, 1, 2))
                group.create_task(scaled(found, "aggregator", 3, 1, 2))
                group.create_task(scaled(found, "gateway", 3, 1, 2))
                group.create_task(scaled(found, "operator", 0, 1))
                group.create_task(scaled(found, "watcher", 0, 1))
            await found.left()
            assert found.audience.told, "the gateways that went had viewers"
            unseen(found, 1)

    run(story)


def test_without_kafka_and_redis_viewers_and_producers_wait_and_nothing_is_lost(installed: Release) -> None:
    async def story() -> None:
        async with hall(installed, throughout=False) as found, reported(found, "outage"):
            await replaced(found, *SERVERS)
            await rolled(found, *SERVERS)
            await scaled(found, "kafka", 0, 1)
            await scaled(found, "redis", 0, 1)
            await found.left()
            ended_well(found)
            assert found.truth.away, "Redis was away"
            assert found.audience.lost == 0, "gateways keep their viewers"

    run(story)


def test_a_node_whose_link_is_cut_costs_its_viewers_a_while(installed: Release, machines: list[Machine]) -> None:
    """The last scene: nobody saw the connections to that node end, so whoever comes from the same port later may still be led to pods that are gone."""
    second = machines[1]
    path = f"/api/v1/nodes/{second.node.name}"

    def ready(status: str) -> None:
        until(
            f"the node's Ready to be {status}",
            lambda: condition(installed.cluster.api.get(path), "Ready") == status,
            PATIENCE_S,
        )

    async def story() -> None:
        async with hall(installed, patience_s=MISSED_S) as found, reported(found, "cut"):
            there = await asyncio.to_thread(installed.pods, "gateway")
            assert {pod["spec"]["nodeName"] for pod in there} == {machine.node.name for machine in machines}
            second.set_link("down")
            try:
                await asyncio.to_thread(ready, "Unknown")
                assert found.audience.lost, "viewers were there"
                await found.heard()
            finally:
                second.set_link("up")
            await asyncio.to_thread(ready, "True")
            for component in KINDS:
                await found.ready(component, 1 if component in ALONE else 2)
            ended_well(found)

    run(story)
