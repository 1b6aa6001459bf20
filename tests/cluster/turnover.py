"""Pods that come and go: what became of each, as a watch tells it. `take` is pure; `watching` asks kubectl."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.cluster.api import Object
from tests.cluster.cluster import condition
from tests.cluster.release import Release
from tools import clients

_COMPONENT: Final = "app.kubernetes.io/component"
_MOST_BYTES: Final = 1 << 26  # of one line; a pod has none as long


@dataclass
class Life:
    """What is known of a pod. code: with which its main container ended last; None: it has not."""

    component: str
    image: str
    ready: bool = False
    leaving: bool = False
    code: int | None = None


@dataclass
class Turnover:
    """pods: those that are there, by name; ended: those that are gone; least: how few of a component were Ready at any time.

    together: components of which pods with different images were Ready at once.
    """

    pods: dict[str, Life] = field(default_factory=dict)
    ended: list[Life] = field(default_factory=list)
    together: set[str] = field(default_factory=set)
    least: Counter[str] = field(default_factory=Counter)

    def take(self, kind: str, pod: Object) -> None:
        """kind: as a watch calls it, ADDED, MODIFIED, DELETED."""
        name = pod["metadata"]["name"]
        life = self.pods[name] = _life(pod, self.pods.get(name))
        if kind == "DELETED":
            self.ended.append(self.pods.pop(name))
        of_it = [each for each in self.pods.values() if each.component == life.component and each.ready]
        if len({each.image for each in of_it}) > 1:
            self.together.add(life.component)
        self.least[life.component] = min(self.least.get(life.component, len(of_it)), len(of_it))

    def begin(self) -> None:
        """Forget what was: from now on counts."""
        self.ended.clear()
        self.together.clear()
        self.least = Counter(each.component for each in self.pods.values() if each.ready)

    @property
    def leaving(self) -> list[str]:
        """Who is on the way out."""
        return [name for name, life in self.pods.items() if life.leaving]

    def settled(self, component: str, count: int) -> bool:
        """Whether a component has so many pods, all Ready and none on its way out."""
        found = [life for life in self.pods.values() if life.component == component]
        return len(found) == sum(life.ready and not life.leaving for life in found) == count

    def gone(self, component: str) -> int:
        return sum(life.component == component for life in self.ended)


def _life(pod: Object, known: Life | None) -> Life:
    containers = pod["status"].get("containerStatuses", [])
    code = next((each["state"]["terminated"]["exitCode"] for each in containers if "terminated" in each["state"]), None)
    leaving = "deletionTimestamp" in pod["metadata"]
    return Life(
        component=pod["metadata"]["labels"].get(_COMPONENT, ""),
        image=pod["spec"]["containers"][0]["image"],
        ready=condition(pod, "Ready") == "True",
        leaving=leaving,
        code=known.code if code is None and known else code,
    )


@contextlib.asynccontextmanager
async def watching(release: Release) -> AsyncIterator[Turnover]:
    """For as long as the block lasts; what is there already is known when it begins."""
    turnover = Turnover()
    for pod in await asyncio.to_thread(release.cluster.pods, release.namespace, release.selector()):
        turnover.take("ADDED", pod)
    words = ["get", "pods", "-n", release.namespace, "-l", release.selector(), "-o", "json", "--watch", "--output-watch-events"]
    program = str(clients.client("kubectl"))
    process = await asyncio.create_subprocess_exec(program, *words, stdout=asyncio.subprocess.PIPE, limit=_MOST_BYTES)
    assert process.stdout
    task = asyncio.create_task(_follow(process.stdout, turnover))
    try:
        yield turnover
        assert not task.done(), "the watch ended"
    finally:
        task.cancel()
        process.kill()
        await process.wait()


async def _follow(lines: asyncio.StreamReader, turnover: Turnover) -> None:
    """kubectl writes an event a line."""
    async for line in lines:
        event: dict[str, Any] = json.loads(line)
        turnover.take(event["type"], event["object"])
