"""Processes are killed and servers' pods deleted in front of viewers and producers: all comes back by itself, and nothing is lost.

What a viewer holds and how often each sample was counted is judged by tests/cluster/hall.py at the end of each scene.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop
from redis.asyncio import Redis

from services.contract.names import DASHBOARDS
from tests.cluster import containers, operating
from tests.cluster.api import Object
from tests.cluster.cluster import Cluster, unique
from tests.cluster.hall import DASHBOARD, VALUES, Hall, hall, until
from tests.cluster.release import Release

pytestmark = [pytest.mark.node, pytest.mark.sandbox]
OURS: Final = ("ingestor", "aggregator", "gateway", "operator", "collector", "watcher")
SERVERS: Final = ("kafka", "redis")
VIEWERS: Final = 20
MISSED_S: Final = 10.0  # for how long viewers bear silence
MARK: Final = "kept by the test"


@pytest.fixture(scope="module")
def installed(cluster: Cluster, images: Mapping[str, str]) -> Iterator[Release]:
    with operating.definitions(cluster), cluster.namespace(unique("kills")) as namespace:
        release = Release(cluster, namespace)
        release.install(VALUES, wait=False)
        for kind in ("deployment", "statefulset", "daemonset"):
            words = ("rollout", "status", kind, "-n", namespace, "-l", release.selector(), "--timeout=10m")
            cluster.kubectl(*words)
        yield release


@pytest.mark.parametrize("components", [OURS, SERVERS], ids=["ours", "servers"])
def test_components_whose_processes_are_killed_come_back(installed: Release, components: Sequence[str]) -> None:
    """One component after the other, and all of its pods at once, so that nobody stands in for them."""

    async def story() -> None:
        async with hall(installed, viewers=VIEWERS, patience_s=MISSED_S, throughout=components == OURS) as found:
            for component in components:
                before = await asyncio.to_thread(killed, installed, component)
                await until(partial(late, installed, component, before))
                await recovered(found)
                await found.heard()
            assert found.pods.ended == [], "they are the same pods"

    run(story)


def test_servers_whose_pods_are_deleted_come_back_with_their_data(installed: Release) -> None:
    async def story() -> None:
        async with hall(installed, viewers=VIEWERS, patience_s=MISSED_S, throughout=False) as found:
            before = await kept(installed)
            await marked(installed)
            for component in SERVERS:
                [old] = installed.pods(component)
                await found.do("delete", "pod", old["metadata"]["name"])
                await found.ready(component, 1)
                [new] = installed.pods(component)
                assert new["metadata"]["uid"] != old["metadata"]["uid"]
                await recovered(found)
                await found.heard()
            assert await kept(installed) == {**before, MARK: MARK.encode()}
            assert sorted(life.component for life in found.pods.ended) == sorted(SERVERS)

    run(story)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


async def recovered(found: Hall) -> None:
    """Wait until every pod is Ready, and none is on its way out."""

    def unready() -> str:
        return ", ".join(name for name, life in found.pods.pods.items() if not life.ready or life.leaving)

    await until(unready)


def killed(release: Release, component: str) -> dict[str, int]:
    """Kill the first process of every pod; how often each pod's container had been started again before."""
    pods = release.pods(component)
    for pod in pods:
        os.kill(containers.main_process(pod), signal.SIGKILL)
    return restarts(pods)


def late(release: Release, component: str, before: Mapping[str, int]) -> str:
    """What is missing until the same pods run other processes."""
    now = restarts(release.pods(component))
    return ", ".join(name for name, count in before.items() if now[name] <= count)


def restarts(pods: list[Object]) -> dict[str, int]:
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}


async def marked(release: Release) -> None:
    """Leave something in Redis that nobody would write again."""
    async with Redis(host=release.address("redis")) as redis:
        await redis.set(MARK, MARK)


async def kept(release: Release) -> dict[str, object]:
    """What nobody writes again as it was: the record that names the log, as it lies in Kafka's volume, and our own mark in Redis; and the registry."""
    async with Redis(host=release.address("redis")) as redis:
        mark, entry = await redis.get(MARK), await redis.hget(DASHBOARDS, DASHBOARD)
    [lineage] = volume(release, "kafka").glob("**/tideboard.lineage-0/*.log")
    return {"lineage": lineage.read_bytes(), MARK: mark, "registry": entry}


def volume(release: Release, component: str) -> Path:
    """Where the volume of a server lies, on whichever node."""
    [pod] = release.pods(component)
    [claim] = [each["persistentVolumeClaim"]["claimName"] for each in pod["spec"]["volumes"] if "persistentVolumeClaim" in each]
    api = release.cluster.api
    name = api.get(f"/api/v1/namespaces/{release.namespace}/persistentvolumeclaims/{claim}")["spec"]["volumeName"]
    return Path(api.get(f"/api/v1/persistentvolumes/{name}")["spec"]["local"]["path"])
