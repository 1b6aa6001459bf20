"""The soak can fail."""

import pytest

from tests.soak.verdict import flat


@pytest.mark.parametrize(
    ("memory", "verdict"),
    [
        ([100.0] * 60, ""),
        ([90.0 + (number % 7) for number in range(60)], ""),
        ([60.0] * 15 + [100.0] * 45, ""),
        (
            [100.0 + number for number in range(60)],
            "memory grows: 129.5 MiB in the second third, 149.5 in the last, 139.0 allowed",
        ),
        ([100.0] * 40 + [120.0] * 20, "memory grows: 100.0 MiB in the second third, 120.0 in the last, 108.0 allowed"),
        ([100.0] * 8, "8 measurements are too few"),
    ],
)
def test_memory_is_flat_or_it_is_said_why_not(memory: list[float], verdict: str) -> None:
    assert flat(memory) == verdict
