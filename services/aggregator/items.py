"""Items: how many different ones there were, and which were the most frequent, by the sketches of Apache DataSketches. Pure.

`distinct` is HyperLogLog with 4,096 registers, `topk` the frequent-items sketch with 768 counters. What a sketch holds is a function of
its updates in their order; how it is laid out in memory is not, and does not show: whatever is stored or merged is put into order first.
"""

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
from datasketches import frequent_items_error_type, frequent_strings_sketch, hll_sketch, hll_union, tgt_hll_type

LG_REGISTERS: Final = 12
DISTINCT_ERROR: Final = 1.04 / 2 ** (LG_REGISTERS / 2)
"""Relative standard error of `distinct`: 1.6 %. Up to 384 different items it is exact but for some in a million."""

LG_COUNTERS: Final = 10
COUNTERS: Final = 3 * 2**LG_COUNTERS // 4
"""Up to so many different items `topk` is exact. With more counters the library would sample them when it makes room, in the order in which
they lie in memory; with up to 1,024 it looks at all of them."""
TOP_ERROR: Final = 3.5 / 2**LG_COUNTERS
"""No weight is more than this share of the weight of all items of its cell too high, and none is too low: 0.34 %."""

_KIND: Final = (
    tgt_hll_type.HLL_6
)  # HLL_4 is smaller, but what does not fit into four bits lies in a hash table, whose order shows
_SET_HEAD: Final = 12
_SET_MODE: Final = 1
_TOP_HEAD: Final = struct.Struct("<BBBBBBHIIQQ")  # longs, version, family, lg max, lg now, flags, -, items, -, weight, offset


def new_distinct() -> hll_sketch:
    return hll_sketch(LG_REGISTERS, _KIND)


def merged_distinct(cells: Sequence[hll_sketch]) -> hll_sketch:
    """The items of any of them."""
    union = hll_union(LG_REGISTERS)
    for cell in cells:
        union.update(cell)
    return union.get_result(_KIND)


def distinct_image(cell: hll_sketch) -> bytes:
    """The library's bytes; where they are a hash set of what was met, in order."""
    image = bytes(cell.serialize_compact())
    if image[7] & 3 != _SET_MODE:
        return image
    return image[:_SET_HEAD] + np.sort(np.frombuffer(image, "<u4", offset=_SET_HEAD)).tobytes()


def distinct_of_image(image: bytes) -> hll_sketch:
    return hll_sketch.deserialize(image)


def distinct_value(cell: hll_sketch) -> float:
    """How many different items, a whole number."""
    return float(round(cell.get_estimate()))


def new_top() -> frequent_strings_sketch:
    return frequent_strings_sketch(LG_COUNTERS)


def merged_top(cells: Sequence[frequent_strings_sketch]) -> frequent_strings_sketch:
    """The items of all of them, with the sum of their weights."""
    merged = new_top()
    for cell in cells:
        merged.merge(top_of_image(top_image(cell)))
    return merged


def top_image(cell: frequent_strings_sketch) -> bytes:
    """The library's bytes, with the items in order."""
    image = bytes(cell.serialize())
    if cell.is_empty():
        return image
    n = _TOP_HEAD.unpack_from(image)[7]
    weights = np.frombuffer(image, "<u8", n, _TOP_HEAD.size)
    items, at = [], _TOP_HEAD.size + 8 * n
    for _ in range(n):
        end = at + 4 + int.from_bytes(image[at : at + 4], "little")
        items.append(image[at:end])
        at = end
    order = sorted(range(n), key=lambda place: items[place][4:])
    return image[: _TOP_HEAD.size] + weights[order].tobytes() + b"".join(items[place] for place in order)


def top_of_image(image: bytes) -> frequent_strings_sketch:
    return frequent_strings_sketch.deserialize(image)


def top_values(cell: frequent_strings_sketch, n: int) -> list[tuple[str, float]]:
    """The n items of the greatest weight, of equal weights the first by name."""
    found = cell.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES, 0)
    best = sorted((-weight, item) for item, weight, _, _ in found)[:n]
    return [(item, float(-weight)) for weight, item in best]
