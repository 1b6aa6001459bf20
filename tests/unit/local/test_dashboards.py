"""The folder of dashboards against a real Valkey."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.contract.registry import VERSION, Entry
from services.local.dashboards import Folder
from services.transport.feed import connect
from services.transport.registry import DASHBOARD_SHELF, SOURCE_SHELF, Shelf, read_all, write_entry
from services.transport.settings import RedisSettings
from tests.servers import Valkey
from tests.unit.local.test_foldercontent import dashboard, source

PATIENCE_S = 10.0


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    client = connect(RedisSettings(url=valkey.url))
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def folder(tmp_path: Path, valkey: Valkey, redis: Redis) -> AsyncIterator[Folder]:
    """Watches tmp_path/boards, which has one dashboard."""
    boards = tmp_path / "boards"
    boards.mkdir()
    (boards / "a.yaml").write_text(dashboard("a"))
    watched = Folder(boards, connect(RedisSettings(url=valkey.url)))
    task = asyncio.create_task(watched.run())
    yield watched
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await watched.close()


async def registry(redis: Redis, holds: Callable[[dict[str, Entry]], bool], shelf: Shelf = DASHBOARD_SHELF) -> dict[str, Entry]:
    """The registry as soon as it is as it should be."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await read_all(redis, shelf)
            if holds(found):
                return found
            await asyncio.sleep(0.02)


async def test_files_come_change_break_and_go(folder: Folder, redis: Redis, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    first = await registry(redis, lambda found: set(found) == {"a"})
    assert first["a"].source == "boards/a.yaml"
    (boards / "b.yml").write_text(dashboard("b"))
    await registry(redis, lambda found: set(found) == {"a", "b"})
    (boards / "a.yaml").write_text(dashboard("a", metric="another"))
    changed = await registry(redis, lambda found: found["a"].revision != first["a"].revision)
    (boards / "a.yaml").write_text(dashboard("a", fn="broken"))
    broken = await registry(redis, lambda found: found["a"].fault is not None)
    assert broken["a"].document == changed["a"].document
    told = json.dumps(folder.status()["faults"])
    assert [(fault["name"], fault["line"], fault["path"]) for fault in json.loads(told)] == [
        ("a", 9, "spec.panels[0].query.fn")
    ]
    (boards / "a.yaml").unlink()
    await registry(redis, lambda found: set(found) == {"b"})


async def test_what_does_not_come_from_the_folder_is_left_alone(folder: Folder, redis: Redis, tmp_path: Path) -> None:
    await write_entry(redis, Entry(VERSION, "other", "", None, "cluster/other"))
    (tmp_path / "boards" / "a.yaml").unlink()
    (tmp_path / "boards" / "c.yaml").write_text(dashboard("c"))
    await registry(redis, lambda found: set(found) == {"c", "other"})


async def test_files_that_are_no_dashboards_are_not_read(folder: Folder, redis: Redis, tmp_path: Path) -> None:
    for name in ("notes.txt", ".hidden.yaml", "a.yaml~"):
        (tmp_path / "boards" / name).write_text("{")
    (tmp_path / "boards" / "z.yaml").write_text(dashboard("z"))
    await registry(redis, lambda found: set(found) == {"a", "z"})


async def test_a_registry_that_starts_anew_is_written_again_with_the_last_good_document(
    folder: Folder, redis: Redis, valkey: Valkey, tmp_path: Path
) -> None:
    await registry(redis, lambda found: set(found) == {"a"})
    (tmp_path / "boards" / "a.yaml").write_text("{")
    await registry(redis, lambda found: found["a"].fault is not None)
    valkey.restart()
    await redis.connection_pool.disconnect()
    found = await registry(redis, lambda found: set(found) == {"a"})
    assert found["a"].document is not None
    assert found["a"].fault is not None


async def test_an_emptied_registry_is_written_again(folder: Folder, redis: Redis) -> None:
    await registry(redis, lambda found: set(found) == {"a"})
    await redis.flushall()
    await registry(redis, lambda found: set(found) == {"a"})


async def test_after_a_restart_a_broken_file_still_has_its_last_good_document(
    redis: Redis, valkey: Valkey, tmp_path: Path
) -> None:
    boards = tmp_path / "boards"
    boards.mkdir()
    (boards / "a.yaml").write_text(dashboard("a"))
    for text in (dashboard("a"), "{"):
        (boards / "a.yaml").write_text(text)
        folder = Folder(boards, connect(RedisSettings(url=valkey.url)))
        await folder._look()
        await folder.close()
    found = await read_all(redis)
    assert found["a"].document is not None
    assert found["a"].fault is not None


async def test_a_folder_that_is_missing_is_empty(redis: Redis, valkey: Valkey, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "nowhere", connect(RedisSettings(url=valkey.url)))
    await folder._look()
    assert folder.status()["names"] == []
    await folder.close()


async def test_sources_lie_on_a_shelf_of_their_own(folder: Folder, redis: Redis, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    (boards / "s.yaml").write_text(source("orders"))
    (boards / "broken.yaml").write_text(source("broken", topic="'a b'"))
    found = await registry(redis, lambda held: len(held) == 2, SOURCE_SHELF)
    assert (found["orders"].fault, found["orders"].source) == (None, "boards/s.yaml")
    assert set(await read_all(redis)) == {"a"}
    status = json.loads(json.dumps(folder.status()))
    assert (status["names"], status["sources"]) == (["a"], ["broken", "orders"])
    assert [(fault["kind"], fault["name"], fault["path"]) for fault in status["faults"]] == [("Source", "broken", "spec.topic")]
    (boards / "s.yaml").unlink()
    await registry(redis, lambda held: set(held) == {"broken"}, SOURCE_SHELF)
