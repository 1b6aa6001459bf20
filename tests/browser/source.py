"""A steady source: posts what its schedule says from a thread of its own, late rather than never, so that its series have no holes."""

import http.client
import json
import threading
import time
from collections.abc import Callable

from tests.browser.system import Sample, System, ask


class Source:
    """samples: what is posted every period, given the number of the period. Off until `on`."""

    def __init__(self, system: System, samples: Callable[[int], list[Sample]], period_ms: int = 100) -> None:
        self._system = system
        self._samples = samples
        self._period_ms = period_ms
        self._on, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    def __enter__(self) -> "Source":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def on(self) -> None:
        self._on.set()

    def off(self) -> None:
        """What is due from now on is never posted."""
        self._on.clear()

    def _run(self) -> None:
        due: list[Sample] = []
        done = self._now()
        while not self._ending.wait(self._period_ms / 1000):
            now = self._now()
            if self._on.is_set():
                due += [
                    {**sample, "time": at * self._period_ms} for at in range(done + 1, now + 1) for sample in self._samples(at)
                ]
            done = now
            if due and self._post(due):
                due = []

    def _post(self, due: list[Sample]) -> bool:
        try:
            return ask(self._system.ingestor, "POST", "/api/v1/samples", json.dumps(due).encode())[0] == 202
        except (OSError, http.client.HTTPException):
            return False

    def _now(self) -> int:
        return int(time.time() * 1000) // self._period_ms
