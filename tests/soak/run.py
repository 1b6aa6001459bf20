"""One soak of a gateway process: a crowd that changes all the time, and its memory now and then."""

import asyncio
import contextlib
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from redis.asyncio import Redis

from services.transport.registry import write_entry
from tests.gateway_process import UNLIMITED, GatewayProcess, running
from tests.pipeline.gateway_world import Pen, desk, document, entry, now_ms, panel, view_ids
from tests.servers import Valkey
from tests.servers import running as serving
from tests.soak.habits import HABITS, PANEL, Asleep, Life
from tests.soak.verdict import flat

DASHBOARDS: Final = 3
LINES: Final = 40
CROWD: Final = 300
STAY_S: Final = (0.2, 8.0)
STEP_S: Final = 0.05
MEASURES: Final = 60
SETTLE_S: Final = 0.2  # share of the time in which everybody comes and caches fill
EMPTY_S: Final = 12.0  # after which nothing may be left: a dashboard lingers for 5 s
FILES: Final = 8_192


@dataclass
class Report:
    """lives: by habit. memory_mib: after everybody had come. faults: sentences, empty when all is well."""

    seconds: float
    lives: Counter[str] = field(default_factory=Counter)
    memory_mib: list[float] = field(default_factory=list)
    most_sockets: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)


def soak(seconds: float, folder: Path, seed: int = 1, tell: Callable[[str], None] = lambda _: None) -> Report:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, FILES)), hard))
    settings = {**UNLIMITED, "TIDEBOARD_GATEWAY_CONNECTIONS_PER_ADDRESS": "0", "TIDEBOARD_GATEWAY_ACCEPTS_PER_ADDRESS": "0"}
    with serving(Valkey()) as valkey, running(GatewayProcess(valkey.url, folder, **settings)) as gateway:
        return asyncio.run(_soak(seconds, valkey.url, gateway, random.Random(seed), tell))


async def _soak(
    seconds: float, url: str, gateway: GatewayProcess, chance: random.Random, tell: Callable[[str], None]
) -> Report:
    report = Report(seconds)
    async with desk(url) as redis:
        writers = [asyncio.create_task(_write(redis, f"board-{number}")) for number in range(DASHBOARDS)]
        await asyncio.to_thread(_known, gateway)
        crowd: dict[Life, float] = {}  # until when each stays
        process = psutil.Process(gateway.pid)
        begun, measured = time.monotonic(), 0
        while (now := time.monotonic()) < begun + seconds:
            await _come(crowd, gateway.port, chance, report, now)
            for life in [life for life, until in crowd.items() if now > until or life.gone]:
                del crowd[life]
                report.refused += life.refused
                if not life.gone:
                    life.leave()
            for life in crowd:
                if isinstance(life, Asleep) and chance.random() < STEP_S:
                    life.wake()
            if now > begun + seconds * (SETTLE_S + (1 - SETTLE_S) * measured / MEASURES):
                measured += 1
                report.memory_mib.append(process.memory_info().rss / 2**20)
                if measured % 10 == 0:
                    tell(f"{now - begun:.0f} s: {report.memory_mib[-1]:.1f} MiB, {sum(report.lives.values()):,} lives")
            await asyncio.sleep(STEP_S)
        status = await asyncio.to_thread(gateway.status)
        report.most_sockets = status["sockets"]
        for life in crowd:
            life.leave()
        for task in writers:
            task.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        report.faults += await _left_over(gateway)
    report.faults += filter(None, [flat(report.memory_mib), *gateway.complaints()])
    report.faults += [f"nobody was {habit.__name__}" for habit in HABITS if not report.lives[habit.__name__]]
    if report.refused:
        report.faults.append(f"{report.refused} were not let in")
    if not gateway.alive:
        report.faults.append("the gateway has ended")
    return report


def _known(gateway: GatewayProcess) -> None:
    """Wait until the gateway has read of the dashboards."""
    while len(gateway.status()["registry"] or {}) < DASHBOARDS:
        time.sleep(0.1)


async def _come(crowd: dict[Life, float], port: int, chance: random.Random, report: Report, now: float) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(min(20, CROWD - len(crowd))):
        habit = chance.choice(HABITS)
        life = habit(f"board-{chance.randrange(DASHBOARDS)}", chance)
        with contextlib.suppress(ConnectionError):
            await loop.create_connection(lambda life=life: life, "127.0.0.1", port)  # type: ignore[misc]
            crowd[life] = now + chance.uniform(*STAY_S)
            report.lives[habit.__name__] += 1


async def _left_over(gateway: GatewayProcess) -> list[str]:
    """What the gateway still holds of a crowd that has gone."""
    until = time.monotonic() + EMPTY_S
    while True:
        status = await asyncio.to_thread(gateway.status)
        left: dict[str, Any] = {
            "sockets": status["sockets"],
            "event streams": status["event_streams"],
            "dashboards": len(status["watched"]),
            "Plotly panels": len(status["plotly"]),
            "views": status["feed"]["views"],
        }
        if not any(left.values()):
            return []
        if time.monotonic() > until:
            return [f"{count} {what} are left of a crowd that has gone" for what, count in left.items() if count]
        await asyncio.sleep(0.5)


async def _write(redis: Redis, name: str) -> None:
    """A dashboard whose lines change ten times a second; now and then one more comes, and its history begins anew."""
    board = document(name, panel(PANEL, f"{name.replace('-', '_')}_busy"), panel("more", f"{name.replace('-', '_')}_more"))
    await write_entry(redis, entry(board))
    pens = [Pen(redis, view) for view in view_ids(board)]
    chance = random.Random(name)
    turn = 0
    while True:
        turn += 1
        start = now_ms() // 1_000 * 1_000
        for pen in pens:
            if turn % 200 == 0:
                pen.begin(f"e{turn}", pen.version)
                await redis.delete(*[key async for key in redis.scan_iter(f"*{pen.view}*")])
            await pen.write({(start, str(line)): round(chance.random(), 4) for line in range(LINES)}, closed=start)
            pen.cells = {at: cell for at, cell in pen.cells.items() if at[0] > start - 5_000}
        await asyncio.sleep(0.1)
