"""What a service is to the process that runs it. Running one is the business of `process`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # a supervisor that knows services by name need not load a web framework
    from starlette.routing import BaseRoute


class StartupError(Exception):
    """Why this process cannot start, in one sentence that says what a person can do about it."""


def refuse(reason: Exception | str) -> int:
    """Tell a person why this process does not start, and give the exit code for it."""
    print(f"tideboard: {reason}", file=sys.stderr, flush=True)
    return 2


class Service(Protocol):
    """A life of three awaits: start, run, stop.

    `run` lasts until it is cancelled, or ends with the error that ends the process. `stop` finishes what was accepted; it
    has four seconds. `readiness` and `liveness` are empty when all is well, and otherwise the reason. `status` is JSON for a person.
    """

    @property
    def name(self) -> str: ...

    async def start(self) -> None: ...

    async def run(self) -> None: ...

    async def stop(self) -> None: ...

    def readiness(self) -> str: ...

    def liveness(self) -> str: ...

    def status(self) -> dict[str, object]: ...


@runtime_checkable
class TakesOrders(Protocol):
    """A service that people and supervisors may tell what to do, over HTTP; the admin server serves it."""

    def order_routes(self) -> list[BaseRoute]: ...


@runtime_checkable
class Leaves(Protocol):
    """A service that people are still using when it is told to end.

    `leave` begins to send them away and says for how many seconds that may last at most; `run` goes on meanwhile, and ends by itself when
    they are gone. 0: it need not go on.
    """

    def leave(self) -> float: ...
