"""What permessage-deflate costs and saves, by level and by size of message: the messages of real dashboards, compressed over and over."""

import asyncio
import json
import random
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from shutil import copy
from typing import Any, Final, cast

import websockets
from isal import isal_zlib
from websockets.typing import Subprotocol

from services.contract.live import SUBPROTOCOL
from services.gateway.deflate import LEVEL, MIN_BYTES, WINDOW, deflate
from tests.bench.report import Table
from tests.stack import ROOT, Stack, running

PANELS: Final = 64
SERIES: Final = 4
POST_EVERY_S: Final = 0.1
SETTLE_S: Final = 5.0
LISTEN_S: Final = 10.0
ROUNDS: Final = 5
SIZES: Final = (0, 128, 256, 512, 1_024, 4_096)


Packer = Callable[[bytes], bytes]


def _by(library: Any, level: int, window: int) -> Packer:
    def pack(message: bytes) -> bytes:
        packer = library.compressobj(level, zlib.DEFLATED, -window)
        return cast("bytes", packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))

    return pack


OURS: Final = deflate
PACKERS: Final[dict[str, Packer]] = {
    "ours": OURS,
    "ISA-L 1, 15 bits": _by(isal_zlib, 1, 15),
    "ISA-L 3, 12 bits": _by(isal_zlib, 3, 12),
    "zlib 1, 12 bits": _by(zlib, 1, 12),
    "zlib 1, 15 bits": _by(zlib, 1, 15),
    "zlib 6, 15 bits": _by(zlib, 6, 15),
}


def measure() -> Table:
    snapshots, deltas = _recorded()
    kinds = {"deltas of the wall": deltas["wall"], "its snapshots": snapshots["wall"]}
    kinds["deltas of what ships"] = deltas["host"] + deltas["tideboard"]
    rows = [_row(kind, messages, *packer) for kind, messages in kinds.items() for packer in PACKERS.items()]
    every = [message for each in deltas.values() for message in each]
    for low, high in pairwise(SIZES):
        if some := [message for message in every if low <= len(message) < high]:
            rows.append(_row(f"deltas of {low:,} to {high - 1:,} bytes", some, "ours", OURS))
    text = (
        f"A wall of {PANELS} panels with {SERIES} series each that walk at random, posted ten times a second, and the dashboards that ship, on the embedded"
        f" servers: all messages of {LISTEN_S:.0f} s, each compressed by itself (no context takeover), best of {ROUNDS} rounds of CPU time."
        f" A message is compressed once for all its viewers, from {MIN_BYTES} bytes on. Ours: ISA-L, level {LEVEL}, window of {WINDOW} bits."
    )
    return Table("Compression of messages", text, ["messages", "number", "mean size", "by", "compressed to", "of the size", "CPU each"], rows)  # fmt: skip


def _row(kind: str, messages: Sequence[bytes], name: str, packer: Packer) -> list[str]:
    packed, took = _compressed(messages, packer)
    number, size = len(messages), sum(map(len, messages))
    each = [f"{size / number:,.0f} B", name, f"{packed / number:,.0f} B", f"{100 * packed / size:.1f} %"]
    return [kind, str(number), *each, f"{took / number * 1e6:.1f} us"]


def _compressed(messages: Sequence[bytes], packer: Packer) -> tuple[int, float]:
    """Bytes and CPU seconds of all messages."""
    size, best = 0, float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        size = sum(len(packer(message)) for message in messages)
        best = min(best, time.process_time() - begun)
    return size, best


def _recorded() -> tuple[dict[str, list[bytes]], dict[str, list[bytes]]]:
    """Snapshots and deltas by dashboard."""
    with tempfile.TemporaryDirectory(prefix="tideboard-bench-") as folder:
        for name in ("host", "tideboard"):
            copy(ROOT / "dashboards" / f"{name}.yaml", folder)
        (Path(folder) / "wall.yaml").write_text(json.dumps(_wall()))
        with running(Path(folder)) as stack, _posting(stack):
            time.sleep(SETTLE_S)
            heard = asyncio.run(_listen(stack.gateway))
    return _of(heard, "snapshot"), _of(heard, "delta")


def _of(heard: dict[str, list[bytes]], kind: str) -> dict[str, list[bytes]]:
    head = f'{{"type":"{kind}"'.encode()
    return {name: [message for message in messages if message.startswith(head)] for name, messages in heard.items()}


def _wall() -> dict[str, Any]:
    panels = [
        {"id": f"p{n}", "type": "timeseries", "query": {"metric": f"walk_{n}", "by": ["line"], "fn": "avg", "every": "1s"}}
        for n in range(PANELS)
    ]
    return {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "wall"},
        "spec": {"window": "5m", "panels": panels},
    }  # fmt: skip


@contextmanager
def _posting(stack: Stack) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=_walk, args=(stack, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _walk(stack: Stack, over: threading.Event) -> None:
    chance, values = random.Random(1), [[50.0] * SERIES for _ in range(PANELS)]
    while not over.wait(POST_EVERY_S):
        samples = []
        for n, lines in enumerate(values):
            for line in range(SERIES):
                lines[line] += chance.gauss(0, 1)
                samples.append({"metric": f"walk_{n}", "labels": {"line": str(line)}, "value": lines[line]})
        stack.post(samples)


async def _listen(port: int) -> dict[str, list[bytes]]:
    """What a viewer of each dashboard hears."""
    names = ("wall", "host", "tideboard")
    return dict(zip(names, await asyncio.gather(*(_hear(port, name) for name in names)), strict=True))


async def _hear(port: int, name: str) -> list[bytes]:
    found: list[bytes] = []
    url = f"ws://127.0.0.1:{port}/api/v1/live"
    async with websockets.connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=None) as socket:
        await socket.send(json.dumps({"type": "subscribe", "dashboard": name, "hz": 10}))
        end = time.monotonic() + LISTEN_S
        while time.monotonic() < end:
            found.append(await socket.recv(decode=False))
    return found
