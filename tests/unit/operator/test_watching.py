"""Watching where the process's user has no name, as in a pod: its number stands in no /etc/passwd."""

import asyncio
import getpass
import threading
from typing import Any

import kopf
import pytest
from kopf._core.engines.peering import detect_own_id

from services.operator.watching import Watching


async def test_a_watch_begins_though_the_user_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise OSError("No username set in the environment")

    async def operator(*, identity: str | None = None, stop_flag: asyncio.Event, **_: Any) -> None:
        """kopf's beginning, without an API server."""
        if identity is None:
            detect_own_id(manual=False)
        began.set()
        await stop_flag.wait()

    began = threading.Event()
    monkeypatch.delenv("POD_ID", raising=False)
    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr(kopf, "operator", operator)
    watching = Watching(lambda: kopf.ConnectionInfo(server="http://127.0.0.1:1"), ["board"], lambda *_: None)
    running = asyncio.create_task(watching.run())
    async with asyncio.timeout(20):
        while not (began.is_set() or watching.fault):  # noqa: ASYNC110, either is said in another thread
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert watching.fault == ""
