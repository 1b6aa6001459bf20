"""Producers that know afterwards which of their samples must have been counted, and how often.

Every tenth of a second is a slot, and a slot's sample is numbered by where its value lies: 16 to the power of the slot's place in its
second, as a delta. So the sum of a second, written in hexadecimal, says of each of its ten samples how often it was counted.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

SLOTS: Final = 10  # a second
SLOT_MS: Final = 1000 // SLOTS
LOAD: Final = "hall_load"
NUMBERED: Final = "hall_numbered"
PANELS: Final[list[Mapping[str, object]]] = [
    {"id": "load", "type": "timeseries", "query": {"metric": LOAD, "by": ["producer"], "fn": ["avg", "max"], "every": "1s"}},
    {"id": "numbers", "type": "timeseries", "query": {"metric": NUMBERED, "by": ["producer"], "fn": "sum", "every": "1s"}},
]
_POST_S: Final = 15.0
_AGAIN_S: Final = 0.2


class Producer(threading.Thread):
    """Posts a sample for each slot, late where it could not earlier, each until it is acknowledged, until `end`.

    keeps: its connection, as collectors do; the others make one for each post, and so find every pod that has left too early.
    attempts: by slot, of those that were acknowledged; refused: what became of the other posts.
    """

    def __init__(self, name: str, host: str, port: int, *, keeps: bool) -> None:
        super().__init__(name=name, daemon=True)
        self.attempts: dict[int, int] = {}
        self.refused: Counter[str] = Counter()
        self._at = (host, port)
        self._keeps = keeps
        self._ended = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        slot = _now()
        while not self._ended.wait(max(0.0, (slot + 1) * SLOT_MS / 1000 - time.time())):
            slot += 1
            self.attempts[slot] = self._until_acknowledged(slot)
        self._close()

    def end(self) -> None:
        """No further slots; what is under way is finished."""
        self._ended.set()

    def _until_acknowledged(self, slot: int) -> int:
        body, attempts = json.dumps(_samples(self.name, slot)).encode(), 1
        while fault := self._post(body):
            self.refused[fault] += 1
            attempts += 1
            time.sleep(_AGAIN_S)
        return attempts

    def _post(self, body: bytes) -> str:
        """Why it is not acknowledged."""
        connection = self._connection or http.client.HTTPConnection(*self._at, timeout=_POST_S)
        self._connection = connection
        try:
            connection.request("POST", "/api/v1/samples", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            return type(error).__name__
        if not self._keeps:
            self._close()
        return "" if answer.status == 202 else f"{answer.status} {said.decode(errors='replace')}"

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def _now() -> int:
    return time.time_ns() // 1_000_000 // SLOT_MS


def _samples(producer: str, slot: int) -> list[dict[str, Any]]:
    common = {"labels": {"producer": producer}, "time": slot * SLOT_MS}
    return [
        {"metric": LOAD, "value": slot % 97, **common},
        {"metric": NUMBERED, "kind": "delta", "value": 16 ** (slot % SLOTS), **common},
    ]


def miscounted(attempts: Mapping[int, int], sums: Mapping[int, float]) -> list[str]:
    """Which acknowledged samples were not counted, or oftener than they were posted. sums: by start of the second, ms. Pure."""
    found = []
    for slot, most in attempts.items():
        total = sums.get(slot // SLOTS * 1000, 0.0)
        times = int(total) >> (4 * (slot % SLOTS)) & 0xF
        if not 1 <= times <= min(most, 0xF):
            found.append(f"sample {slot} was acknowledged at attempt {most} and counted {times} times")
    return found
