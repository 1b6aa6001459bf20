"""Who folds which partition and merges which view."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from services.contract.ownership import merger, owned

members = st.frozensets(st.text(min_size=1, max_size=8), min_size=1, max_size=6)
partitions = st.integers(1, 64)


def owners(count: int, alive: Iterable[str], topic: str = "") -> list[str]:
    """The owner of each partition."""
    shares = {member: owned(member, count, frozenset(alive), topic) for member in alive}
    return [next(member for member, share in shares.items() if partition in share) for partition in range(count)]


@given(members, partitions, st.sampled_from(["", "orders"]))
def test_every_partition_has_one_owner(alive: frozenset[str], count: int, topic: str) -> None:
    shares = [owned(member, count, alive, topic) for member in alive]
    assert sorted(partition for share in shares for partition in share) == list(range(count))


@given(members, partitions, st.sampled_from(["", "orders"]))
def test_nobody_has_more_than_one_partition_more_than_another(alive: frozenset[str], count: int, topic: str) -> None:
    """Plain rendezvous hashing left one of two members without any, one time in 32 for six partitions."""
    shares = [len(owned(member, count, alive, topic)) for member in alive]
    assert max(shares) - min(shares) <= 1


def test_about_as_many_move_as_must_when_one_comes_or_goes() -> None:
    alive = [f"aggregator-{number}" for number in range(8)]
    for count in range(1, 8):
        before, after = owners(48, alive[:count]), owners(48, alive[: count + 1])
        moved = sum(one != other for one, other in zip(before, after, strict=True))
        assert moved <= 48 / (count + 1) + 6


def test_the_order_of_members_does_not_matter() -> None:
    assert owners(20, ["a", "b", "c"]) == owners(20, ["c", "a", "b"])


def test_single_partitions_of_many_sources_are_spread() -> None:
    found = [owners(1, ["ingestor-0", "ingestor-1"], f"source-{number}")[0] for number in range(40)]
    assert 10 <= found.count("ingestor-0") <= 30


def test_nobody_owns_where_nobody_is() -> None:
    assert owned("a", 4, frozenset()) == frozenset()


def test_who_is_not_alive_owns_nothing() -> None:
    assert owned("b", 4, frozenset({"a"})) == frozenset()


@given(st.integers(0, 2**64 - 1), partitions)
def test_a_view_is_merged_by_the_owner_of_one_partition(number: int, count: int) -> None:
    assert 0 <= merger(f"{number:016x}", count) < count


def test_views_are_spread_over_partitions() -> None:
    assert {merger(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}", 8) for number in range(200)} == set(range(8))
