"""How often each sample was counted is read out of the sums of seconds."""

import pytest

from tests.cluster.numbered import NUMBERED, _samples, miscounted

SECOND = 1_700_000_000
FIRST = SECOND * 10


def summed(*slots: int) -> dict[int, float]:
    """What an aggregator makes of the samples of these slots."""
    sums: dict[int, float] = {}
    for slot in slots:
        sample = next(each for each in _samples("p", slot) if each["metric"] == NUMBERED)
        start = sample["time"] // 1000 * 1000
        sums[start] = sums.get(start, 0.0) + sample["value"]
    return sums


@pytest.mark.parametrize(
    ("attempts", "counted", "wrong"),
    [
        pytest.param({FIRST + n: 1 for n in range(25)}, [*range(25)], [], id="each once"),
        pytest.param({FIRST: 1, FIRST + 1: 1}, [0], ["counted 0 times"], id="one is lost"),
        pytest.param({FIRST: 1, FIRST + 9: 1}, [0, 9, 9], ["counted 2 times"], id="one counts twice"),
        pytest.param({FIRST: 2, FIRST + 1: 2}, [0, 1, 1], [], id="one that was posted twice may count twice"),
        pytest.param({FIRST: 2}, [0, 0, 0], ["counted 3 times"], id="and not thrice"),
        pytest.param({FIRST: 1}, [0, 1], [], id="one that was never acknowledged may count"),
        pytest.param({FIRST + 10: 1}, [], ["counted 0 times"], id="a second is lost"),
    ],
)
def test_samples_that_count_too_rarely_or_too_often_are_told(
    attempts: dict[int, int], counted: list[int], wrong: list[str]
) -> None:
    found = miscounted(attempts, summed(*(FIRST + slot for slot in counted)))
    assert [said.partition(" and ")[2] for said in found] == wrong
