"""What it costs to tell everybody: CPU per delivered frame and memory per viewer, beside a bare loop in C and beside other servers.

Who is measured has one core, the viewers and all else have the others. Ratios of one run are what counts: every round measures
all of them, one after the other.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.fanout.access import SUBPROTOCOLS
from tests.bench.fanout.cores import SERVER, VIEWERS, measuring, prefer
from tests.bench.fanout.crowd import Crowd, Told, compiler, crowd, quantile
from tests.bench.fanout.feed import HZ, PANELS, PATH, SERIES, Feed, record, showing, subscribe
from tests.bench.fanout.servers import LOOP, Server, ours, rival
from tests.bench.report import Table
from tests.servers import Valkey
from tests.servers import running as serving

COUNT: Final = 2_000
ROUNDS: Final = 5
SETTLE_S: Final = 1.0
WINDOW_S: Final = 2.5
IDLE_FIRST: Final = 500
IDLE: Final = 5_000
SEED: Final = 500
CROWD: Final = 8_000
CROWD_S: Final = 10.0
LEAST_CROWD: Final = 1_000
ROOM: Final = 0.7  # of a core
STORM: Final = 2_000
STORM_S: Final = 5.0
OURS: Final = "Tideboard"


class Variant(NamedTuple):
    """server: a rival, the floor, or OURS."""

    title: str
    server: str
    deflated: bool = False


VARIANTS: Final = (
    Variant("bare `send()` loop in C", LOOP),
    Variant("**Tideboard**", OURS),
    Variant("Starlette, `send_text` to each", "starlette"),
    Variant("`websockets`, `broadcast`", "websockets"),
    Variant("uvicorn's own, bare ASGI", "bare"),
    Variant("**Tideboard**, deflated", OURS, deflated=True),
    Variant("Starlette, `send_text` to each, deflated", "starlette", deflated=True),
    Variant("`websockets`, `broadcast`, deflated", "websockets", deflated=True),
)
SEEDED: Final = tuple(variant for variant in VARIANTS if variant.server in (OURS, "starlette"))


class World:
    """files: of each dashboard one delta, which the others send."""

    def __init__(self, url: str, changes: Feed, folder: Path) -> None:
        self.url = url
        self.changes = changes
        self.files = {name: folder / name for name in PANELS}
        self.sizes: dict[str, int] = {}

    def record(self) -> None:
        with ours(self.url) as server:
            for name, file in self.files.items():
                with showing(self.changes, name):
                    self.sizes[name] = record(server.port, name, file)

    @contextlib.contextmanager
    def running(self, variant: Variant, dashboard: str, count: int, *, idle: bool = False) -> Iterator[tuple[Server, Crowd]]:
        """A server that tells so many viewers of a dashboard ten times a second, and those viewers, who are still to come."""
        with contextlib.ExitStack() as stack:
            if variant.server == OURS:
                server = stack.enter_context(ours(self.url))
                if not idle:
                    stack.enter_context(showing(self.changes, dashboard))
                where = PATH, ", ".join(SUBPROTOCOLS), subscribe(dashboard)
            else:
                server = stack.enter_context(rival(variant.server, 0 if idle else HZ, count, self.files[dashboard]))
                where = "/", "", ""
            yield server, stack.enter_context(crowd(server.port, *where, deflated=variant.deflated))


@contextlib.contextmanager
def _world() -> Iterator[World]:
    with (
        measuring(),
        serving(Valkey()) as valkey,
        Feed(valkey.url) as changes,
        tempfile.TemporaryDirectory() as folder,
    ):
        prefer(valkey.pid)
        world = World(valkey.url, changes, Path(folder))
        world.record()
        yield world


def measure() -> Iterator[Table]:
    with _world() as world:
        for part in (_frames, _memory, _seed, _crowd, _storm):
            yield part(world)


# CPU per frame.


def frame_us(world: World, variant: Variant, dashboard: str, count: int) -> float:
    """CPU of the server for each frame that arrived, us."""
    with world.running(variant, dashboard, count) as (server, viewers):
        viewers.open(count)
        viewers.wait(count, live=True)
        time.sleep(SETTLE_S)
        cpu, before = server.cpu_s(), viewers.tell()
        time.sleep(WINDOW_S)
        cpu, after = server.cpu_s() - cpu, viewers.tell()
        assert after.open == count, f"{variant.title}: {count - after.open} of {count} viewers were lost"
        return cpu / (after.frames - before.frames) * 1e6


def _frames(world: World) -> Table:
    found: dict[tuple[Variant, str], list[float]] = {}
    for _ in range(ROUNDS):
        for dashboard in PANELS:
            for variant in _variants():
                found.setdefault((variant, dashboard), []).append(frame_us(world, variant, dashboard, COUNT))
    rows = [[variant.title, *(cell for name in PANELS for cell in _cells(found, variant, name))] for variant in _variants()]
    sizes = " and ".join(f"{world.sizes[name]:,} bytes ({PANELS[name]} panels with {SERIES} series)" for name in PANELS)
    text = (
        f"{COUNT:,} viewers, {HZ} frames a second, on loopback; {_placing()} CPU time of the server's process, user and kernel, by the frames"
        f" that arrived in {WINDOW_S:g} s; the least of {ROUNDS} rounds in which all take turns, as what disturbs a measurement adds to it. Payloads: a delta of {sizes}."
        " Ours is the gateway as it is deployed: it reads the changes of all views from Valkey, merges them, composes each frame and counts"
        " it; its viewers have rates and came with a token (JWT). The others send one text that is ready. Deflated: with permessage-deflate, as browsers offer"
        " it, by each server's defaults. Goals: 1.3 times the bare loop, 0.5 times Starlette, deflated 0.3 times Starlette deflated."
    )
    head = ["server", *(text for name in PANELS for text in (f"{world.sizes[name]:,} bytes", "of the loop", "of Starlette"))]
    return Table("Fan-out: CPU per delivered frame", text, head, rows)


def _cells(found: Mapping[tuple[Variant, str], list[float]], variant: Variant, dashboard: str) -> list[str]:
    times = found[variant, dashboard]
    starlette = next(other for other in VARIANTS if other.server == "starlette" and other.deflated == variant.deflated)
    ratios = [_ratio(times, found.get((base, dashboard))) for base in (VARIANTS[0], starlette)]
    return [f"{min(times):.1f} us", *ratios]


def _ratio(times: Sequence[float], base: Sequence[float] | None) -> str:
    return f"{min(times) / min(base):.2f}" if base else "no C compiler"


def _variants() -> Sequence[Variant]:
    return VARIANTS if compiler() else VARIANTS[1:]


# Memory.


def viewer_bytes(world: World, variant: Variant, dashboard: str, first: int, count: int, *, idle: bool) -> float:
    """Growth of resident memory for each of so many viewers, after the first ones."""
    with world.running(variant, dashboard, first + count, idle=idle) as (server, viewers):
        live = not idle or variant.server == OURS
        viewers.open(first)
        viewers.wait(first, live=live)
        time.sleep(SETTLE_S)
        before = server.memory()
        viewers.open(count)
        viewers.wait(first + count, live=live)
        time.sleep(SETTLE_S)
        return (server.memory() - before) / count


def _memory(world: World) -> Table:
    found = {variant: viewer_bytes(world, variant, "small", IDLE_FIRST, IDLE, idle=True) for variant in _variants()}
    rows = [[variant.title, f"{size / 1024:.1f} KiB"] for variant, size in found.items()]
    text = (
        f"Growth of the resident memory of the server's process by {IDLE:,} viewers after the first {IDLE_FIRST}, for each of them. Nothing"
        " changes: ours are subscribed, have had their snapshot, and hear a sign of life every second; the others have been accepted."
        " What the kernel holds for a socket is not in it. Goal: 4 KB."
    )
    return Table("Fan-out: memory per idle viewer", text, ["server", "resident memory"], rows)


def _seed(world: World) -> Table:
    rows = [["such a server, as it is described", "20 to 50 KB", "5 to 15 ms", "5 to 15 ms"]]
    for variant in SEEDED:
        size = viewer_bytes(world, variant, "wall", 0, SEED, idle=False)
        times = [frame_us(world, variant, name, SEED) * SEED / 1e3 for name in PANELS]
        rows.append([variant.title, f"{size / 1024:.0f} KiB", *(f"{ms:.1f} ms" for ms in times)])
    text = (
        f"{SEED} viewers, as the tutorials' server has them: a list of connections, and `await send_text` to each. First what is said of one"
        " (20 to 50 KB for a viewer, 5 to 15 ms for a broadcast; not measured, and of what size is not said), then as measured here. Memory: growth of the"
        " resident memory from the first viewer on, while they are sent to; of ours the dashboard's states and frames are in it."
        " Broadcast: CPU time of the server for one frame to all of them."
    )
    head = ["server", "memory per viewer", *(f"broadcast of {world.sizes[name]:,} bytes" for name in PANELS)]
    return Table("Fan-out: 500 viewers", text, head, rows)


# Many at once.


def _crowd(world: World) -> Table:
    """As many viewers as leave the bare loop room on its core: beyond that it is the kernel that is measured."""
    count = CROWD
    while (floor := _share(world, VARIANTS[0], count)[0] if compiler() else 0.0) > ROOM and count > LEAST_CROWD:
        count //= 2
    share, begun, told, memory = _share(world, VARIANTS[1], count)
    rows = [
        ["frames a second for each", f"{(told.frames - begun.frames) / (told.at - begun.at) / count:.1f}"],
        ["of the core", f"{100 * share:.0f} %"],
        ["of the core, bare loop in C", f"{100 * floor:.0f} %" if floor else "no C compiler"],
        ["viewers that were lost", str(count - told.open)],
        ["begin of a tick → arrival, p50", f"{quantile(told.since_now, 0.5)} ms"],
        ["begin of a tick → arrival, p99", f"{quantile(told.since_now, 0.99)} ms"],
        ["commit in Valkey → arrival, p50", f"{quantile(told.since_commit, 0.5)} ms"],
        ["commit in Valkey → arrival, p99", f"{quantile(told.since_commit, 0.99)} ms"],
        ["resident memory, from the first viewer on", f"{memory / 2**20:.0f} MiB"],
    ]
    text = (
        f"{count:,} viewers of one dashboard with deltas of {world.sizes['small']:,} bytes at {HZ} Hz, {CROWD_S:g} s; {_placing()} Delays of"
        f" every frame at every viewer, by the clock of this machine. {CROWD:,} viewers where the bare loop needs at most {100 * ROOM:.0f} % of the core for"
        " them, else half as many, and so on. Goal: p99 of a tick below 100 ms."
    )
    return Table(f"Fan-out: {count:,} viewers of one dashboard", text, ["", "measured"], rows)


def _share(world: World, variant: Variant, count: int) -> tuple[float, Told, Told, int]:
    """Of the core, that telling so many viewers takes; what they had and have heard; and the growth of the server's memory, bytes."""
    with world.running(variant, "small", count) as (server, viewers):
        before = server.memory()
        viewers.open(count, 1_000)
        viewers.wait(count, live=True)
        time.sleep(3 * SETTLE_S)
        viewers.say("clear")
        cpu, begun = server.cpu_s(), viewers.tell()
        time.sleep(CROWD_S)
        cpu, told = server.cpu_s() - cpu, viewers.tell()
        return cpu / (told.at - begun.at), begun, told, server.memory() - before


def _storm(world: World) -> Table:
    rows = []
    for title, deflated in (("plain", False), ("deflated", True)):
        with world.running(Variant(title, OURS, deflated), "wall", STORM) as (_, viewers):
            begun = time.monotonic()
            viewers.open(STORM, STORM / STORM_S)
            told = viewers.wait(STORM, live=True)
            rows.append(_stormed(title, told, told.at - begun))
    text = (
        f"{STORM:,} viewers begin to connect within {STORM_S:g} s, while all {PANELS['wall']} panels change {HZ} times a second. Live: the snapshot"
        f" has come; {_placing()} Goal: all are live within 10 s."
    )
    head = ["snapshots", "refused", "all live after", "connection → live, p50", "p99"]
    return Table(f"Fan-out: {STORM:,} viewers come at once", text, head, rows)


def _stormed(title: str, told: Told, took_s: float) -> list[str]:
    waits = [f"{quantile(told.until_live, q)} ms" for q in (0.5, 0.99)]
    return [title, str(told.refused), f"{took_s:.1f} s", *waits]


def _placing() -> str:
    if SERVER & VIEWERS:
        return "server and viewers share one core."
    return f"the server has one core, viewers{'' if compiler() else ' (in Python, as there is no C compiler)'}, Valkey and the writer of changes the other, and all of them go before other processes."
