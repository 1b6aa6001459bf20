"""One gateway in a process of its own, with a dashboard that is small and one that is large; nothing may be in its log at the end."""

import asyncio
from collections.abc import Iterator

import pytest

from services.transport.registry import write_entry
from tests.conformance.peer import FRAMES, Peer
from tests.conformance.talk import LARGE, SMALL, Talk
from tests.gateway_process import UNLIMITED, GatewayProcess, running
from tests.pipeline.gateway_world import Pen, desk, document, entry, now_ms, panel, view_ids
from tests.servers import Valkey

GROUPS = 400
BUCKETS = 50


@pytest.fixture(scope="session")
def gateway(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    asyncio.run(write_dashboards(valkey.url))
    with running(GatewayProcess(valkey.url, tmp_path_factory.mktemp("gateway"), **UNLIMITED)) as found:
        yield found
        assert found.alive
        assert found.complaints() == []


async def write_dashboards(url: str) -> None:
    async with desk(url) as redis:
        large = document(LARGE, panel("cpu", "cpu_busy"), window="30m")  # longer than all tests here take
        await write_entry(redis, entry(document(SMALL, panel("rx", "rx_bytes"))), entry(large))
        pen, first = Pen(redis, view_ids(large)[0]), now_ms() // 1_000 * 1_000 - BUCKETS * 1_000
        for bucket in range(BUCKETS):
            await pen.write({(first + bucket * 1_000, f"core {cpu}"): cpu + bucket / 7 for cpu in range(GROUPS)})


@pytest.fixture(params=[0, 1, 7, FRAMES], ids=["at once", "byte by byte", "in sevens", "frame by frame"])
def talk(request: pytest.FixtureRequest, gateway: GatewayProcess) -> Talk:
    """Four ways of cutting the same bytes."""
    return Talk(gateway.port, request.param)


@pytest.fixture
def peer(gateway: GatewayProcess) -> Iterator[Peer]:
    with Peer(gateway.port) as found:
        yield found
