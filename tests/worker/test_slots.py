"""Test the slots of a pool: fair hand-over, closing and cancellation."""

from __future__ import annotations

import asyncio

import pytest

from taskq_cloud.worker.slots import Slots


def _ignore() -> None:
    """Ignore that a slot is idle."""


async def test_slots_are_handed_over_in_turn() -> None:
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


async def test_closed_slots_refuse_waiting_and_later_callers() -> None:
    slots = Slots(1, _ignore)
    assert await slots.acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.close()
    assert await waiter is False
    assert await slots.acquire() is False


async def test_slot_handed_to_cancelled_waiter_is_not_lost() -> None:
    slots = Slots(1, _ignore)
    assert await slots.acquire()
    leaving = asyncio.create_task(slots.acquire())
    staying = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()  # hands the slot to the caller that is cancelled at the same moment
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await staying is True


async def test_free_slot_without_waiters_is_announced() -> None:
    announced: list[bool] = []
    slots = Slots(2, lambda: announced.append(True))
    assert await slots.acquire()
    slots.release()
    assert announced == [True]
