"""What is believed of partitions that other aggregators fold."""

from services.aggregator.others import BEAT_MS, Others
from services.contract.views import Beat

NOW = 1_000_000


def test_a_partition_is_caught_up_when_who_folds_it_says_so() -> None:
    others = Others()
    others.heard({"a": Beat(1, 0, "", 0, [0, 1], [1]), "b": Beat(1, 0, "", 0, [2], [2, 3])}, NOW)
    assert [others.caught_up(partition, NOW) for partition in range(4)] == [False, True, True, False]


def test_of_who_is_silent_nothing_is_believed_any_more() -> None:
    others = Others()
    others.heard({"a": Beat(1, 0, "", 0, [0], [0])}, NOW)
    others.heard({"a": Beat(1, 0, "", 0, [0], [0])}, NOW + BEAT_MS)
    assert others.caught_up(0, NOW + BEAT_MS)
    assert not others.caught_up(0, NOW + BEAT_MS + 1)
    others.heard({"a": Beat(2, 0, "", 0, [0], [0])}, NOW + BEAT_MS + 2)
    assert others.caught_up(0, NOW + BEAT_MS + 2)
    others.heard({}, NOW + BEAT_MS + 3)
    assert not others.caught_up(0, NOW + BEAT_MS + 3)


def test_an_aggregator_of_the_version_before_does_not_say_it_and_is_believed() -> None:
    others = Others()
    others.heard({"old": Beat(1, 0, "", 0, [0])}, NOW)
    assert (others.caught_up(0, NOW), others.caught_up(1, NOW)) == (True, False)
