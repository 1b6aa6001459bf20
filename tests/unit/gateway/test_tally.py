from prometheus_client import CollectorRegistry, Histogram, generate_latest

from services.gateway.tally import Tally

BOUNDS = (0.1, 1, 2.5)


def test_many_equal_values_at_once_are_as_many_one_by_one() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("age_seconds", "How old", BOUNDS, ours)
    histogram = Histogram("age_seconds", "How old", buckets=BOUNDS, registry=theirs)
    for amount, times in ((0.0, 2), (0.1, 3), (0.11, 1), (2.5, 4), (2.75, 2), (900.0, 1), (1.0, 0)):
        tally.observe(amount, times)
        for _ in range(times):
            histogram.observe(amount)
    created = "_created"  # beside it prometheus_client says when a histogram began
    expected = [line for line in generate_latest(theirs).decode().splitlines() if created not in line]
    assert generate_latest(ours).decode().splitlines() == expected


def test_it_is_there_before_anything_was_counted() -> None:
    registry = CollectorRegistry()
    Tally("age_seconds", "How old", BOUNDS, registry)
    assert registry.get_sample_value("age_seconds_bucket", {"le": "+Inf"}) == 0
