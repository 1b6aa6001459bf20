"""The gateway that is fuzzed: a process over a Valkey of its own, with two dashboards."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.conftest import write_dashboards
from tests.gateway_process import UNLIMITED, GatewayProcess, running
from tests.pipeline.gateway_world import build_wall
from tests.servers import Valkey
from tests.servers import running as serving


@contextlib.contextmanager
def fuzzed(folder: Path) -> Iterator[GatewayProcess]:
    """Until the block ends."""
    with serving(Valkey()) as valkey:
        asyncio.run(write_dashboards(valkey.url))
        wall = build_wall(folder / "wall")  # a gateway without one answers 503, and rightly
        with running(GatewayProcess(valkey.url, folder, TIDEBOARD_GATEWAY_WALL=str(wall), **UNLIMITED)) as gateway:
            yield gateway
