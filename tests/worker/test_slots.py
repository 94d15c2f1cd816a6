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


async def test_caller_that_waits_until_a_slot_is_free_gets_one_of_closed_slots() -> None:
    slots = Slots(1, _ignore)
    assert await slots.acquire()
    waiters = [asyncio.create_task(slots.acquire(until_free=True)) for _ in range(2)]
    await asyncio.sleep(0)
    slots.close()
    waiters.append(asyncio.create_task(slots.acquire(until_free=True)))
    for waiter in waiters:
        await asyncio.sleep(0)
        assert not waiter.done()
        slots.release()
        assert await waiter


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


async def order_of(weights: tuple[int, ...], levels: list[int]) -> list[int]:
    """The levels in the order in which one slot is handed to callers that all wait."""
    slots = Slots(1, _ignore, weights)
    assert await slots.acquire()
    order: list[int] = []

    async def wait(level: int) -> None:
        assert await slots.acquire(level)
        order.append(level)
        slots.release()

    waiters = [asyncio.create_task(wait(level)) for level in levels]
    await asyncio.sleep(0)
    slots.release()
    await asyncio.gather(*waiters)
    assert slots.idle
    return order


async def test_higher_level_goes_first_without_weights() -> None:
    assert await order_of((), [0, 1, 0, 2, 1, 2]) == [2, 2, 1, 1, 0, 0]


async def test_levels_share_slots_by_their_weights() -> None:
    order = await order_of((1, 3), [0] * 40 + [1] * 40)
    assert order[:40].count(1) == 30
    assert order[:8].count(1) == 6


async def test_level_beyond_the_weights_has_the_last_one() -> None:
    order = await order_of((1, 2), [0] * 30 + [1] * 30 + [2] * 30)
    assert [order[:50].count(level) for level in range(3)] == [10, 20, 20]


async def test_level_without_callers_saves_no_turns() -> None:
    slots = Slots(1, _ignore, (1, 1))
    assert await slots.acquire()
    order: list[int] = []

    async def wait(level: int) -> None:
        assert await slots.acquire(level)
        order.append(level)

    waiters = [asyncio.create_task(wait(1)) for _ in range(10)]
    await asyncio.sleep(0)
    for _ in range(10):
        slots.release()
        await asyncio.sleep(0)
    waiters += [asyncio.create_task(wait(level)) for level in (0, 0, 0, 1, 1, 1)]
    await asyncio.sleep(0)
    for _ in range(6):
        slots.release()
        await asyncio.sleep(0)
    await asyncio.gather(*waiters)
    assert sorted(order[10:14]) == [0, 0, 1, 1]
