"""The watermark: until when buckets are closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.watermark import Progress, closed_until

NOW, DISORDER, IDLE = 1_000_000, 250, 1_000


def partition(behind: int | None, quiet: int = 0, caught_up: bool = True) -> Progress:
    """behind: its newest sample, ms ago, None for no sample; quiet: for how long nothing newer came."""
    return Progress(0 if behind is None else NOW - behind, NOW - quiet, caught_up)


@pytest.mark.parametrize(
    ("partitions", "closed"),
    [
        ([], NOW - IDLE - DISORDER),
        ([partition(None)], NOW - IDLE - DISORDER),
        ([partition(100)], NOW - 100 - DISORDER),
        ([partition(100), partition(900)], NOW - 900 - DISORDER),
        ([partition(100), partition(None)], NOW - 100 - DISORDER),  # a partition without a sample holds nobody back
        ([partition(100), partition(60_000, quiet=IDLE + 1)], NOW - 100 - DISORDER),  # nor one that is quiet and caught up
        ([partition(100), partition(60_000, quiet=IDLE)], NOW - 60_000 - DISORDER),  # not quiet for long enough
        ([partition(100), partition(60_000, quiet=IDLE + 1, caught_up=False)], NOW - 60_000 - DISORDER),  # it lags
        ([partition(100), partition(None, caught_up=False)], -DISORDER),  # one that was not read yet may hold anything
        ([partition(5_000, quiet=5_000), partition(9_000, quiet=9_000)], NOW - IDLE - DISORDER),  # all are quiet: time goes on
        ([partition(-5_000)], NOW - DISORDER),  # a sample of the future closes nothing of it
    ],
)
def test_the_watermark_is_that_of_the_slowest_partition_that_counts(partitions: list[Progress], closed: int) -> None:
    assert closed_until(partitions, NOW, DISORDER, IDLE) == closed


progresses = st.lists(st.builds(Progress, st.just(0) | st.integers(1, 2 * NOW), st.integers(0, NOW), st.booleans()), max_size=6)


@given(progresses)
def test_nothing_is_closed_that_a_lagging_partition_has_not_reached(partitions: list[Progress]) -> None:
    closed = closed_until(partitions, NOW, DISORDER, IDLE)
    assert closed <= NOW - DISORDER
    assert all(closed <= item.max_time - DISORDER for item in partitions if item.max_time and not item.caught_up)
