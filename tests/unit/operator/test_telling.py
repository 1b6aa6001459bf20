"""What is said of resources, and what happens when it cannot be said."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from services.operator import telling
from services.operator.cluster import ClusterError
from services.operator.deciding import Reason, Verdict
from services.operator.known import DELETED, Known
from services.operator.resources import Body, Resource
from services.operator.statuses import Event
from services.operator.telling import Teller
from tests.unit.operator.objects import body

PATIENCE_S = 10.0


class Api:
    """Holds objects; `refuse`: what the next requests are answered with instead."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.objects = {item["metadata"]["name"]: item for item in bodies}
        self.refuse: list[ClusterError] = []
        self.refuse_events = False
        self.patches: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.done = asyncio.Event()

    async def patch_status(self, resource: Resource, patch: Mapping[str, Any]) -> Body:
        self.done.set()
        if self.refuse:
            raise self.refuse.pop(0)
        self.patches.append(resource.name)
        held = self.objects[resource.name]
        status = {**held.get("status", {}), **patch["status"]}
        spec, generation = held["spec"], held["metadata"]["generation"]
        self.objects[resource.name] = body(resource.name, spec, generation=generation, status=status)
        return self.objects[resource.name]

    async def post_event(self, resource: Resource, event: Event) -> None:
        if self.refuse_events:
            raise ClusterError("events are forbidden", 403)
        self.events.append((resource.name, event.reason))


class World:
    def __init__(self, *names: str) -> None:
        self.api = Api(*(body(name) for name in names))
        self.known = Known(("Dashboard",), ("a",))
        self.known.listed("Dashboard", "a", list(self.api.objects.values()), 0)
        self.teller = Teller(self.api, self.known, lambda: datetime(2026, 11, 29, tzinfo=UTC))

    def say(self, reason: Reason = Reason.accepted, *names: str) -> None:
        found = self.known.of("Dashboard")
        self.teller.tell([Verdict(it, reason, "said", 1, 5) for it in found if not names or it.name in names], "Dashboard")

    async def until(self, patches: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.api.patches) < patches:
                self.api.done.clear()
                await self.api.done.wait()
                await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "BACKOFF_S", (0.01, 0.02))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World("a", "b")
    task = asyncio.create_task(found.teller.run())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_each_is_told_once_with_an_event(world: World) -> None:
    world.say()
    await world.until(2)
    world.say()
    await asyncio.sleep(0.05)
    assert sorted(world.api.patches) == ["a", "b"]
    assert sorted(world.api.events) == [("a", "Accepted"), ("b", "Accepted")]


async def test_what_cannot_be_said_now_is_said_later(world: World) -> None:
    world.api.refuse = [ClusterError("away"), ClusterError("too many", 429), ClusterError("forbidden", 403)]
    world.say()
    await world.until(2)
    await asyncio.sleep(0.05)
    assert (sorted(world.api.patches), world.teller.fault) == (["a", "b"], "")


@pytest.mark.parametrize("code", [404, 409, 422])
async def test_what_is_gone_or_another_one_by_now_is_left_alone(world: World, code: int) -> None:
    world.api.refuse = [ClusterError("gone", code)]
    world.say(Reason.accepted, "a")
    async with asyncio.timeout(PATIENCE_S):
        await world.api.done.wait()
    await asyncio.sleep(0.05)
    assert (world.api.patches, world.teller.fault) == ([], "")


async def test_what_was_deleted_before_it_could_be_said_is_not_said(world: World) -> None:
    world.api.refuse = [ClusterError("away")]
    world.say(Reason.accepted, "a")
    async with asyncio.timeout(PATIENCE_S):
        await world.api.done.wait()
    world.known.hear("Dashboard", DELETED, body("a"))
    world.say(Reason.invalid)
    await world.until(1)
    await asyncio.sleep(0.05)
    assert world.api.patches == ["b"]
    assert [(fault["name"], fault["reason"]) for fault in world.teller.status()] == [("b", "Invalid")]


async def test_an_event_that_is_not_taken_does_not_keep_the_status_from_being_written(world: World) -> None:
    world.api.refuse_events = True
    world.say()
    await world.until(2)
    assert (world.api.events, world.teller.fault) == ([], "")


async def test_only_the_newest_is_said(world: World) -> None:
    world.say()
    world.say(Reason.invalid)
    await world.until(2)
    assert {condition["reason"] for item in world.api.objects.values() for condition in item["status"]["conditions"]} == {
        "Invalid"
    }
