"""Watching: reads the metrics of Tideboard's own services, so that the pipeline is on a dashboard like anything else."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from services.collector import metrics
from services.collector.client import AwayError, Client
from services.collector.exposition import Reader
from services.collector.measuring import Keep
from services.collector.readings import Sample

READ_S: Final = 2.0
Resolve = Callable[[str, int], Iterable[str]]
_BY_NAME: Final = "dns+"


class Endpoint:
    """One address of a service. ValueError where it is none. instance: what tells it from others of the same service."""

    def __init__(self, service: str, url: str, instance: str = "") -> None:
        self._labels = {"service": service} | ({"instance": instance} if instance else {})
        self._client = Client(url, READ_S)
        self._reader = Reader(service, instance)
        self.fault = "not read yet"

    def read(self) -> list[Sample]:
        """What the service says now, and whether it says anything. Blocks."""
        try:
            answer = self._client.ask("GET")
            self.fault = "" if answer.status == 200 else f"status {answer.status}"
        except AwayError as error:
            self.fault = str(error)
        found = list(self._reader.read(answer.body.decode("utf-8", "replace"))) if not self.fault else []
        metrics.SCRAPES.labels(self._labels["service"], "failed" if self.fault else "read").inc()
        return [Sample("tideboard_service_up_ratio", self._labels, 0.0 if self.fault else 1.0), *found]

    def close(self) -> None:
        self._client.close()


class Target:
    """A service, from `service=url`: one endpoint, or with `dns+http://` one at each address that the host's name has. ValueError
    where the text is neither. resolve: addresses of a host and port; OSError where it has none."""

    def __init__(self, text: str, resolve: Resolve) -> None:
        self.service, _, url = text.partition("=")
        self._url = url.removeprefix(_BY_NAME)
        self._several = url.startswith(_BY_NAME)
        self._resolve = resolve
        first = Endpoint(self.service, self._url)  # also shows that it is an address
        self._endpoints = {} if self._several else {"": first}
        self._fault = ""

    @property
    def fault(self) -> str:
        faults = [f"{name} {endpoint.fault}".strip() for name, endpoint in self._endpoints.items() if endpoint.fault]
        return self._fault or "; ".join(faults)

    def read(self) -> list[Sample]:
        """What all of it say now. Blocks."""
        if self._several:
            self._follow()
        return [sample for endpoint in list(self._endpoints.values()) for sample in endpoint.read()]

    def _follow(self) -> None:
        """Those that the name leads to now. One that is gone is forgotten; so are all where nothing has the name any more."""
        parts = urlsplit(self._url)
        try:
            addresses = set(self._resolve(parts.hostname or "", parts.port or 80))
            self._fault = ""
        except OSError as error:
            addresses, self._fault = set(), f"{parts.hostname}: {error}"
        for gone in set(self._endpoints) - addresses:
            self._endpoints.pop(gone).close()
        for address in sorted(addresses - set(self._endpoints)):
            host = f"[{address}]" if ":" in address else address
            url = parts._replace(netloc=f"{host}:{parts.port or 80}").geturl()
            self._endpoints[address] = Endpoint(self.service, url, address)


def resolved(host: str, port: int) -> set[str]:
    """The addresses of a name, as the system's resolver says."""
    return {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}


class Watching:
    """Reads all targets one after the other, in a thread: one that hangs delays the others by READ_S and nothing else."""

    def __init__(self, texts: Sequence[str], interval_ms: int, keep: Keep, resolve: Resolve = resolved) -> None:
        self._targets = [Target(text, resolve) for text in texts]
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
