"""The garbage collector of a service: a real one."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Histogram

from services.runtime.garbage import THAW_S, YOUNG, Garbage


class Ring:
    """An object that only a collection frees."""

    def __init__(self) -> None:
        self.me = self


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def garbage(clock: Clock, registry: CollectorRegistry) -> Iterator[Garbage]:
    found = Garbage(Histogram("pause_seconds", "Pauses.", ["generation"], registry=registry), clock)
    found.begin()
    yield found
    found.end()


def pauses(registry: CollectorRegistry, generation: int) -> tuple[float, float]:
    """How many there were, and their seconds."""
    found = [
        registry.get_sample_value(f"pause_seconds_{part}", {"generation": str(generation)}) or 0.0 for part in ("count", "sum")
    ]
    return found[0], found[1]


def test_what_is_there_at_the_start_and_what_survives_a_full_collection_is_frozen(garbage: Garbage) -> None:
    before = gc.get_freeze_count()
    assert before > 10_000, "the interpreter's own modules are"
    kept = [[] for _ in range(1_000)]  # type: ignore[var-annotated]
    gc.collect()
    assert gc.get_freeze_count() - before > len(kept)
    assert len(gc.get_objects()) < len(kept), "nothing else is left to look at"


def test_garbage_is_freed_and_not_frozen(garbage: Garbage) -> None:
    gone = weakref.ref(Ring())
    gc.collect()
    assert gone() is None


def test_what_becomes_garbage_when_it_is_frozen_is_freed_after_an_hour(garbage: Garbage, clock: Clock) -> None:
    ring = Ring()
    gc.collect()
    gone = weakref.ref(ring)
    del ring
    gc.collect()
    assert gone() is not None
    clock.now += THAW_S
    gc.collect()
    assert gone() is None
    assert gc.get_freeze_count() > 10_000, "and what is left is frozen again"


def test_pauses_are_measured(garbage: Garbage, registry: CollectorRegistry) -> None:
    before, young = pauses(registry, 2), pauses(registry, 0)
    gc.collect()
    assert pauses(registry, 2) == (before[0] + 1, before[1] + 0.25)
    gc.collect(0)
    assert pauses(registry, 0) == (young[0] + 1, young[1] + 0.25)


def test_at_the_end_it_is_as_it_was() -> None:
    before = gc.get_threshold(), len(gc.callbacks), gc.get_freeze_count()
    garbage = Garbage(Histogram("pause_seconds", "Pauses.", ["generation"], registry=CollectorRegistry()))
    garbage.begin()
    assert gc.get_threshold()[0] == YOUNG
    garbage.end()
    assert (gc.get_threshold(), len(gc.callbacks), gc.get_freeze_count()) == before
    garbage.end()
