"""A flag that is waited for, not for ever."""

import asyncio

import pytest

from services.gateway.alarm import Alarm


async def test_whoever_waits_goes_on_when_it_rings() -> None:
    alarm = Alarm()
    waiting = asyncio.create_task(alarm.wait(60))
    await asyncio.sleep(0)
    alarm.ring()
    alarm.ring()
    async with asyncio.timeout(1):
        assert await waiting


async def test_patience_has_an_end() -> None:
    assert not await Alarm().wait(0.001)


async def test_one_that_has_rung_is_not_waited_for_until_it_is_hushed() -> None:
    alarm = Alarm()
    alarm.ring()
    assert await alarm.wait(60)
    alarm.hush()
    assert not await alarm.wait(0)


async def test_who_was_cancelled_may_wait_again() -> None:
    alarm = Alarm()
    waiting = asyncio.create_task(alarm.wait(60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    alarm.ring()
    assert await alarm.wait(60)
