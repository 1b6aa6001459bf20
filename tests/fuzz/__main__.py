"""`make fuzz`: any bytes against the gateway's cores and against a gateway.

python -m tests.fuzz [--inputs N] [--seed S]
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.fuzz.campaign import CORES, OVER_SOCKETS, FoundError, run_core, run_sockets
from tests.fuzz.world import fuzzed

PARTS = 20


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make fuzz")
    arguments.add_argument("--inputs", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    wanted = arguments.parse_args()
    print(f"{wanted.inputs:,} inputs, seed {wanted.seed}", flush=True)
    try:
        for core, what in CORES.items():
            if what.check:
                _in_parts(core, round(wanted.inputs * what.share), wanted.seed)
        over = round(wanted.inputs * sum(share for _, share in OVER_SOCKETS.values()))
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, fuzzed(Path(folder)) as gateway:
            asyncio.run(run_sockets(gateway, over, wanted.seed))
        _tell("a gateway over TCP", over, begun)
    except FoundError as found:
        print(f"found something in {found}", file=sys.stderr)
        return 1
    return 0


def _in_parts(core: str, number: int, seed: int) -> None:
    """On all cores of the machine."""
    begun = time.monotonic()
    with ProcessPoolExecutor() as pool:
        for part in [pool.submit(run_core, core, number // PARTS, seed * PARTS + part) for part in range(PARTS)]:
            part.result()
    _tell(core, number, begun)


def _tell(what: str, number: int, begun: float) -> None:
    print(f"{what}: {number:,} inputs in {time.monotonic() - begun:.0f} s, nothing found", flush=True)


if __name__ == "__main__":
    sys.exit(main())
