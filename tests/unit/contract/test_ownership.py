"""Who folds which partition and merges which view."""

from hypothesis import given
from hypothesis import strategies as st

from services.contract.ownership import merger, owned, owner

members = st.frozensets(st.text(min_size=1, max_size=8), min_size=1, max_size=6)
partitions = st.integers(1, 64)


@given(members, partitions)
def test_every_partition_has_one_owner(alive: frozenset[str], count: int) -> None:
    shares = [owned(member, count, alive) for member in alive]
    assert sorted(partition for share in shares for partition in share) == list(range(count))


@given(members, partitions, st.text(min_size=1, max_size=8))
def test_who_comes_takes_partitions_and_moves_none_between_the_others(alive: frozenset[str], count: int, new: str) -> None:
    for partition in range(count):
        before, after = owner(partition, alive), owner(partition, alive | {new})
        assert after in (before, new)


@given(members, partitions)
def test_who_goes_leaves_the_partitions_of_the_others_alone(alive: frozenset[str], count: int) -> None:
    gone = min(alive)
    for partition in range(count):
        before = owner(partition, alive)
        if before != gone:
            assert owner(partition, alive - {gone}) == before


def test_the_order_of_members_does_not_matter() -> None:
    assert [owner(p, ["a", "b", "c"]) for p in range(20)] == [owner(p, ["c", "a", "b"]) for p in range(20)]


def test_partitions_are_shared_about_evenly() -> None:
    alive = frozenset({"aggregator-0", "aggregator-1", "aggregator-2"})
    assert all(8 <= len(owned(member, 48, alive)) <= 24 for member in alive)


def test_nobody_owns_where_nobody_is() -> None:
    assert owner(0, []) is None
    assert owned("a", 4, frozenset()) == frozenset()


def test_who_is_not_alive_owns_nothing() -> None:
    assert owned("b", 4, frozenset({"a"})) == frozenset()


@given(st.integers(0, 2**64 - 1), partitions)
def test_a_view_is_merged_by_the_owner_of_one_partition(number: int, count: int) -> None:
    assert 0 <= merger(f"{number:016x}", count) < count


def test_views_are_spread_over_partitions() -> None:
    assert {merger(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}", 8) for number in range(200)} == set(range(8))


def test_things_that_are_named_are_shared_about_evenly_too() -> None:
    alive = ["ingestor-0", "ingestor-1"]
    shares = [owner(f"orders/{partition}", alive) for partition in range(40)]
    assert all(10 <= shares.count(member) <= 30 for member in alive)
