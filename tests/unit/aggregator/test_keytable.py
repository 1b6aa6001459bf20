"""Key tables: as a list and a dictionary of the same keys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator import keytable
from services.aggregator.keytable import KeyTable

keys = st.lists(st.binary(max_size=8), unique=True, max_size=300)


@given(keys, st.lists(st.binary(max_size=8), max_size=20), st.data())
def test_a_table_finds_what_is_there_and_gives_it_in_order(there: list[bytes], asked: list[bytes], data: st.DataObject) -> None:
    table = KeyTable(there)
    numbers = {key: number for number, key in enumerate(there)}
    assert (len(table), list(table)) == (len(there), there)
    assert [table.find(key) for key in (*there, *asked)] == [numbers.get(key) for key in (*there, *asked)]
    first, after = sorted((data.draw(st.integers(0, len(there))), data.draw(st.integers(0, len(there)))))
    assert table[first:after] == there[first:after]
    kept = [number for number in range(len(there)) if data.draw(st.booleans())]
    less = table.kept(np.array(kept, np.int64))
    assert list(less) == [there[number] for number in kept]
    assert [less.find(key) for key in there] == [kept.index(number) if number in kept else None for number in range(len(there))]


def test_keys_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keytable, "_HASH", 0)
    table = KeyTable(b"%d" % i for i in range(50))
    assert [table.find(b"%d" % i) for i in range(51)] == [*range(50), None]


def test_there_is_no_place_past_the_end() -> None:
    table = KeyTable([b"a", b"b"])
    assert (table[0], table[-1]) == (b"a", b"b")
    with pytest.raises(IndexError):
        table[2]
