"""So many inputs, divided among the cores and a real gateway. A campaign is its seed: the same again does the same again."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from tests.fuzz import cores, speech
from tests.fuzz.corpus import kept
from tests.fuzz.mutation import mutated
from tests.fuzz.sockets import BrokenError, Bystander, say_all
from tests.gateway_process import GatewayProcess
from tests.servers import ROOT

FAILURES: Final = ROOT / ".cache" / "fuzz"
_SEEDS: Final = 200
_MOST_CPU_S: Final = 1.0  # of one input; what is usual is a thousandth
_BATCH: Final = 500


@dataclass(frozen=True)
class Core:
    """check: raises where something does not hold. speak: traffic that is nearly right. share: of all inputs."""

    check: Callable[[bytes, Random], None] | None
    speak: Callable[[Random], bytes]
    share: float


CORES: Final[dict[str, Core]] = {
    "frames": Core(cores.frames, speech.frames, 0.4),
    "openings": Core(cores.openings, speech.opening, 0.2),
    "extensions": Core(cores.extensions, lambda chance: speech.extensions(chance).encode(), 0.15),
    "messages": Core(cores.messages, speech.message, 0.1),
    "tokens": Core(cores.tokens, speech.token, 0.1),
    "requests": Core(None, speech.request, 0.0),
}
OVER_SOCKETS: Final[dict[str, tuple[bool, float]]] = {
    "frames": (True, 0.02),
    "openings": (False, 0.01),
    "requests": (False, 0.02),
}
"""upgrade: after a good handshake; and the share."""


class FoundError(Exception):
    """An input that broke something; it is kept in `path`."""

    def __init__(self, core: str, path: Path, reason: str) -> None:
        super().__init__(f"{core}: {reason}; the input is in {path}")


def inputs(core: str, number: int, seed: int) -> Iterator[bytes]:
    """Kept ones and made-up ones, as they are and mutated."""
    chance, made = Random(f"{core} {seed}"), CORES[core].speak
    seeds = [*kept(core).values(), *(made(chance) for _ in range(_SEEDS))]
    for at in range(number):
        yield made(chance) if at % 3 == 0 else mutated(chance, seeds)


def run_core(core: str, number: int, seed: int) -> None:
    """So many inputs in this process. FoundError."""
    check = CORES[core].check
    assert check is not None
    for at, data in enumerate(inputs(core, number, seed)):
        begun = time.process_time()
        try:
            check(data, Random(at))
            assert time.process_time() - begun < _MOST_CPU_S, "it takes too long"
        except Exception as error:
            raise FoundError(core, _keep(core, data), f"{type(error).__name__}: {error}"[:2_000]) from error


async def run_sockets(gateway: GatewayProcess, number: int, seed: int) -> None:
    """So many inputs to a gateway, beside a viewer that watches it. FoundError."""
    total = sum(share for _, share in OVER_SOCKETS.values())
    async with Bystander(gateway.port) as other:
        for core, (upgrade, share) in OVER_SOCKETS.items():
            said = list(inputs(core, round(number * share / total), seed + 1))
            for begin in range(0, len(said), _BATCH):
                await _say(gateway, other, core, said[begin : begin + _BATCH], upgrade)


async def _say(gateway: GatewayProcess, other: Bystander, core: str, said: list[bytes], upgrade: bool) -> None:
    reason = ""
    try:
        async with asyncio.timeout(600):
            await say_all(gateway, said, upgrade)
            await other.hears()
    except* BrokenError as errors:
        reason = "; ".join(map(str, errors.exceptions))
    if complaints := gateway.complaints():
        reason += f"it was logged: {complaints[:3]}"
    if not gateway.alive:
        reason += "the gateway ended"
    if reason:
        raise FoundError(core, _keep(f"{core}-batch", b"\n--\n".join(said)), reason)


def _keep(core: str, data: bytes) -> Path:
    FAILURES.mkdir(parents=True, exist_ok=True)
    path = FAILURES / f"{core}-{hashlib.blake2b(data, digest_size=6).hexdigest()}"
    path.write_bytes(data)
    return path
