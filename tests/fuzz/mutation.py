"""Chance: bytes that are nearly what they were, and the places where a stream is cut. Everything comes from one seeded generator."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

_EDGES: Final = (0, 1, 0x7D, 0x7E, 0x7F, 0x80, 0x81, 0x88, 0x89, 0xC1, 0xFE, 0xFF, 0x0A, 0x0D, 0x20, 0x22, 0x2C, 0x3B)


def mutated(chance: Random, seeds: Sequence[bytes], most: int = 1 << 16) -> bytes:
    """A seed after a few mutations, of `most` bytes at most; once in a while random bytes."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(64))
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 6))):
        chance.choice(_MUTATIONS)(chance, data)
        if chance.random() < 0.1:
            other = chance.choice(seeds)
            data[_place(chance, data) :] = other[chance.randrange(len(other) + 1) :]
    return bytes(data[:most])


def pieces(chance: Random, data: bytes) -> Iterator[bytes]:
    """The same bytes in pieces: a byte at a time, in two, in many."""
    kind = chance.randrange(4)
    if kind == 0 and len(data) < 300:
        cuts: Sequence[int] = range(1, len(data))
    else:
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range((1, 2, 5, 20)[kind]))
    begin = 0
    for cut in (*cuts, len(data)):
        yield data[begin:cut]
        begin = cut


def _place(chance: Random, data: bytearray) -> int:
    """Often near the beginning, where heads are."""
    return chance.randrange(min(len(data), 16) + 1 if chance.random() < 0.5 else len(data) + 1)


def _flip(chance: Random, data: bytearray) -> None:
    if data:
        data[min(_place(chance, data), len(data) - 1)] ^= 1 << chance.randrange(8)


def _set(chance: Random, data: bytearray) -> None:
    if data:
        data[min(_place(chance, data), len(data) - 1)] = (
            chance.choice(_EDGES) if chance.random() < 0.7 else chance.randrange(256)
        )


def _insert(chance: Random, data: bytearray) -> None:
    at = _place(chance, data)
    data[at:at] = chance.randbytes(chance.randrange(1, 9)) if chance.random() < 0.5 else bytes((chance.choice(_EDGES),))


def _remove(chance: Random, data: bytearray) -> None:
    at = _place(chance, data)
    del data[at : at + chance.choice((1, 1, 2, 4, 50))]


def _repeat(chance: Random, data: bytearray) -> None:
    at, size = _place(chance, data), chance.choice((1, 4, 20, 200))
    data[at:at] = data[at : at + size] * chance.choice((1, 2, 10))


def _cut(chance: Random, data: bytearray) -> None:
    del data[_place(chance, data) :]


_MUTATIONS: Final[Sequence[Callable[[Random, bytearray], None]]] = (_flip, _flip, _set, _set, _insert, _remove, _repeat, _cut)
