import asyncio

import pytest

from taskq_cloud.worker.slots import Slots


def _ignore() -> None:
    """Nobody watches in these tests."""


async def test_slots_are_handed_over_in_turn():
    slots = Slots(1, _ignore)
    assert await slots.acquire()
    order: list[int] = []

    async def wait(number: int) -> None:
        assert await slots.acquire()
        order.append(number)
        slots.release()

    waiters = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert not slots.idle
    slots.release()
    await asyncio.gather(*waiters)
    assert order == [0, 1, 2, 3, 4]
    assert slots.idle


async def test_closing_answers_those_who_wait_and_those_who_come():
    slots = Slots(1, _ignore)
    assert await slots.acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.close()
    assert await waiter is False
    assert await slots.acquire() is False


async def test_a_cancelled_waiter_loses_no_slot():
    slots = Slots(1, _ignore)
    assert await slots.acquire()
    leaving = asyncio.create_task(slots.acquire())
    staying = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()  # hands the slot to the one who leaves in the same moment
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await staying is True


async def test_idleness_is_announced_when_nobody_waits():
    announced: list[bool] = []
    slots = Slots(2, lambda: announced.append(True))
    assert await slots.acquire()
    slots.release()
    assert announced == [True]
