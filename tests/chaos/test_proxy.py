"""The proxy before the feed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import HOST, Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()


@contextlib.asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def said(streams: Streams, text: bytes) -> bytes:
    streams[1].write(text)
    return await streams[0].readexactly(len(text))


async def test_bytes_go_both_ways_and_wait_while_it_is_frozen(proxy: Proxy) -> None:
    async with connected(proxy) as streams:
        assert await said(streams, b"one") == b"one"
        proxy.freeze()
        waiting = asyncio.create_task(said(streams, b"two"))
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
        proxy.thaw()
        assert await waiting == b"two"


async def test_a_cut_ends_connections_and_nobody_upstream_ends_new_ones(proxy: Proxy) -> None:
    async with connected(proxy) as streams:
        assert await said(streams, b"one") == b"one"
        await proxy.cut()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await said(streams, b"two")
    proxy.upstream = None
    async with connected(proxy) as streams:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await said(streams, b"three")
