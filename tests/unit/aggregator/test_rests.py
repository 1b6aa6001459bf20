"""When work in the background is done, and how much of it at once."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.rests import HEADWAY_S, LEAST_PATIENCE_S, PATIENCE_S, PAUSE, PORTION_S, Headway, Portions, Rests


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def waits(rests: Rests) -> "asyncio.Task[None]":
    task = asyncio.create_task(rests.portion())
    for _ in range(20):
        await asyncio.sleep(0)
    return task


async def test_a_portion_is_done_while_the_loop_rests() -> None:
    rests = Rests(clock := Clock())
    with rests.until(clock.now + 2 * PORTION_S):
        assert (await waits(rests)).done()


async def test_a_portion_waits_for_a_rest_that_is_long_enough() -> None:
    rests = Rests(clock := Clock())
    task = await waits(rests)
    with rests.until(clock.now + PORTION_S / 2):
        await asyncio.sleep(0)
        assert not task.done()
    with rests.until(clock.now + 2 * PORTION_S):
        await task


async def test_a_portion_does_not_begin_when_a_rest_is_nearly_over() -> None:
    rests = Rests(clock := Clock())
    with rests.until(clock.now + 2 * PORTION_S):
        assert (await waits(rests)).done()
        clock.now += 1.5 * PORTION_S
        task = await waits(rests)
        assert not task.done()
    assert not (await waits(rests)).done()
    task.cancel()


async def test_where_there_are_no_rests_a_portion_is_done_at_last() -> None:
    rests = Rests(clock := Clock())
    task = await waits(rests)
    clock.now += PATIENCE_S
    rests._begun.set()
    await task


async def test_where_there_are_no_rests_patience_wears_off_until_there_is_one() -> None:
    """On a machine that is busy with other things the loop never rests, and whoever opens a new dashboard would wait for minutes."""
    rests = Rests(clock := Clock())

    async def waited() -> float:
        """How long a portion waits, in steps of a tenth of one."""
        begun, task = clock.now, await waits(rests)
        while not task.done():
            clock.now += PORTION_S / 10
            rests._begun.set()
            for _ in range(3):
                await asyncio.sleep(0)
        return clock.now - begun

    found = [await waited() for _ in range(8)]
    assert found[0] == pytest.approx(PATIENCE_S, rel=0.1) and found[-1] == pytest.approx(LEAST_PATIENCE_S, rel=0.2)
    assert found == sorted(found, reverse=True)
    assert PORTION_S / (PORTION_S + found[-1]) > 0.3, "it has a third of the time"
    with rests.until(clock.now + 1):
        assert await waited() == 0
    assert await waited() == pytest.approx(PATIENCE_S, rel=0.1)


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1)), max_size=50))
def test_a_portion_has_bounds(found: list[tuple[int, float]]) -> None:
    portions = Portions(10, 1_000)
    for size, seconds in found:
        portions.took(size, seconds)
        assert 10 <= portions.size <= 1_000


def test_a_portion_is_as_much_as_its_time_is_enough_for() -> None:
    portions = Portions(10, 100_000)
    for _ in range(30):
        portions.took(1_000, 0.001)
    assert 0.9 * PORTION_S < portions.size / 1_000_000 < 1.1 * PORTION_S


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept, but for turns of the event loop; it takes no time."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds:
            found.append(seconds)
        await sleep(0)

    monkeypatch.setattr("services.aggregator.rests.asyncio.sleep", note)
    return found


async def test_a_pause_as_long_as_it_took_follows_each_portion(slept: list[float]) -> None:
    rests = Rests(clock := Clock(), spent := Clock())
    with rests.until(clock.now + 1):
        async with rests.working():
            spent.now += 0.25
            clock.now += 0.5  # another process had its turn, too
            assert slept == []
    assert slept == [PAUSE * 0.25]


async def test_all_steps_are_done_each_as_a_portion(slept: list[float]) -> None:
    rests = Rests(clock := Clock(), spent := Clock())
    done = []

    def steps() -> Iterator[None]:
        for number in range(3):
            done.append(number)
            spent.now += 0.25 * (number + 1)
            yield

    with rests.until(clock.now + 1):
        await rests.do(steps())
    assert done == [0, 1, 2]
    assert slept == [PAUSE * seconds for seconds in (0.25, 0.5, 0.75)]


def filled(part: float, least: float = 0.0) -> bool:
    """Whether work that takes as long as the loop of live views, which takes this part of all time, reaches that from a million behind, within
    a day. least: pauses are never shorter than this.
    """
    clock = Clock()
    headway, behind, a_second = Headway(clock), 1_000_000.0, 10_000
    while behind > 0 and clock.now < 86_400:
        pause = max(least, headway.pause(int(behind)))
        done = a_second * (1 - part) / part / (1 + pause)
        clock.now += 1
        behind += a_second - done
    return behind <= 0


@pytest.mark.parametrize("part", [0.1, 0.3, 0.34, 0.4, 0.45])
def test_work_that_can_reach_what_keeps_coming_does(part: float) -> None:
    assert filled(part)


def test_with_all_pauses_it_would_fall_behind_for_ever() -> None:
    assert filled(0.3, PAUSE) and not filled(0.4, PAUSE), "or the test above says nothing"


def test_who_gains_keeps_its_pauses_and_who_once_does_not_has_none_any_more() -> None:
    clock = Clock()
    headway = Headway(clock)
    paused = []
    for behind in (1_000, 700, 500, 400, 100):
        paused.append(headway.pause(behind))
        clock.now += HEADWAY_S
    assert paused == [PAUSE, PAUSE, PAUSE, 0, 0]


async def test_what_fails_in_a_portion_ends_the_work(slept: list[float]) -> None:
    rests = Rests(clock := Clock())
    with rests.until(clock.now + 1), pytest.raises(ValueError, match="wrong"):
        async with rests.working():
            raise ValueError("wrong")
    assert slept == []
