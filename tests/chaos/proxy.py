"""A TCP proxy of the harness: slow, silent or pointing elsewhere, as a run wants it. Everything on loopback."""

import asyncio
import contextlib
from typing import Final

from services.local.embedded import free_port

HOST: Final = "127.0.0.1"
CHUNK: Final = 1 << 16


class Proxy:
    """Hands bytes on to `upstream`, a port (None: nobody is there). delay_s: before every chunk, in both directions.

    `freeze` holds all bytes back and keeps connections; `cut` ends connections.
    """

    def __init__(self, upstream: int | None = None) -> None:
        self.port = free_port()
        self.upstream = upstream
        self.delay_s = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    async def cut(self) -> None:
        """End every connection; what was held back is lost."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other: asyncio.StreamWriter | None = None
        try:
            if self.upstream is not None:
                far, other = await asyncio.open_connection(HOST, self.upstream)
                both = [asyncio.create_task(self._pump(reader, other)), asyncio.create_task(self._pump(far, writer))]
                try:
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in both:
                        task.cancel()
                    await asyncio.gather(*both, return_exceptions=True)
        except OSError:
            pass  # nobody is there: the client sees its connection end
        finally:
            for end in (writer, other):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
