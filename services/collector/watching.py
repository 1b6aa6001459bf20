"""Watching: reads the metrics of Tideboard's own services, so that the pipeline is on a dashboard like anything else."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from services.collector import metrics
from services.collector.client import AwayError, Client
from services.collector.exposition import Reader
from services.collector.measuring import Keep
from services.collector.readings import Sample

READ_S: Final = 2.0


class Target:
    """One service's endpoint, from `service=url`. ValueError where that is not what the text is."""

    def __init__(self, text: str) -> None:
        self.service, _, url = text.partition("=")
        self._client = Client(url, READ_S)
        self._reader = Reader(self.service)
        self.fault = "not read yet"

    def read(self) -> list[Sample]:
        """What the service says now, and whether it says anything. Blocks."""
        try:
            answer = self._client.ask("GET")
            self.fault = "" if answer.status == 200 else f"status {answer.status}"
        except AwayError as error:
            self.fault = str(error)
        found = list(self._reader.read(answer.body.decode("utf-8", "replace"))) if not self.fault else []
        metrics.SCRAPES.labels(self.service, "failed" if self.fault else "read").inc()
        return [Sample("tideboard_service_up_ratio", {"service": self.service}, 0.0 if self.fault else 1.0), *found]


class Watching:
    """Reads all targets one after the other, in a thread: one that hangs delays the others by READ_S and nothing else."""

    def __init__(self, texts: Sequence[str], interval_ms: int, keep: Keep) -> None:
        self._targets = [Target(text) for text in texts]
        self._interval_s = interval_ms / 1000
        self._keep = keep
        self._thread = ThreadPoolExecutor(1, "watch")

    async def run(self) -> None:
        """Until cancelled; at once where there is nothing to read."""
        while self._targets:
            await asyncio.sleep(self._interval_s - time.time() % self._interval_s)
            samples = await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
            self._keep(samples, int(time.time() * 1000))

    def _read(self) -> list[Sample]:
        return [sample for target in self._targets for sample in target.read()]

    def status(self) -> dict[str, str]:
        return {target.service: target.fault or "read" for target in self._targets}

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
