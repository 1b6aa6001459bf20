"""Settings of property tests that do not depend on how busy the machine is: hypothesis' own limits are wall time."""

from hypothesis import HealthCheck, settings


def steady(max_examples: int = 100) -> settings:
    return settings(max_examples=max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
