"""A table of keys, numbered as they came, in a third of the memory of a list and a dictionary. Pure.

Keys lie one after the other in one piece of bytes, beside where each ends and its hash; an open table of numbers finds them. It is for
what is seldom looked up and held in great numbers: a look-up takes about five times as long as a dictionary's.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Final, overload

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

_FREE: Final = -1
_HASH: Final = 0xFFFFFFFF


class KeyTable(Sequence[bytes]):
    """Different keys, each of which has the number of its place. Hashes are the interpreter's, which nobody outside can foresee."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._packed = bytearray()
        self._ends = array("Q", [0])  # the first is where the first key begins
        self._hashes = array("I")
        self._slots = array("i", [_FREE]) * 64
        for key in keys:
            self.append(key)

    def __len__(self) -> int:
        return len(self._hashes)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        if isinstance(place, slice):
            return [self._key(number) for number in range(*place.indices(len(self)))]
        return self._key(range(len(self))[place])

    def find(self, key: bytes) -> int | None:
        """The number of a key, None where it is not there."""
        slots, hashes = self._slots, self._hashes
        mask, hashed = len(slots) - 1, hash(key) & _HASH
        at = hashed & mask
        while (number := slots[at]) != _FREE:
            if hashes[number] == hashed and self._key(number) == key:
                return number
            at = (at + 1) & mask
        return None

    def append(self, key: bytes) -> int:
        """Take a key that is not there yet; its number."""
        number = len(self)
        self._packed += key
        self._ends.append(len(self._packed))
        self._hashes.append(hash(key) & _HASH)
        if 3 * len(self) > 2 * len(self._slots):
            self._slots = array("i", [_FREE]) * (2 * len(self._slots))
            for known, hashed in enumerate(self._hashes):
                self._enter(known, hashed)
        else:
            self._enter(number, self._hashes[number])
        return number

    def kept(self, numbers: I64) -> "KeyTable":
        """A table of these keys, which are numbered anew in this order."""
        return KeyTable(self._key(number) for number in numbers.tolist())

    def _key(self, number: int) -> bytes:
        return bytes(self._packed[self._ends[number] : self._ends[number + 1]])

    def _enter(self, number: int, hashed: int) -> None:
        slots = self._slots
        mask = len(slots) - 1
        at = hashed & mask
        while slots[at] != _FREE:
            at = (at + 1) & mask
        slots[at] = number
