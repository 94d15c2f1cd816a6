"""Test that the deliveries of a message group run one by one, and none after a released delivery."""

from __future__ import annotations

import asyncio

from taskq_cloud.core.model.message import Delivery
from taskq_cloud.worker.ordering import MessageGroups


def delivery(number: int, queue: str = "orders.fifo", group: str | None = "a") -> Delivery:
    return Delivery(queue=queue, message_id=str(number), receipt=str(number), body="", group=group)


async def _turns(
    groups: MessageGroups, deliveries: list[Delivery], blocked_at: int | None = None
) -> list[tuple[str, bool]]:
    """Take the turn of every delivery. Return their ids in the order of their turns, and whether each was blocked."""
    order: list[tuple[str, bool]] = []
    running = 0

    async def take(each: Delivery) -> None:
        nonlocal running
        async with groups.turn(each) as turn:
            running += 1
            order.append((each.message_id, turn.blocked))
            if each.group is not None and each.queue.endswith(".fifo"):
                assert running == 1
            await asyncio.sleep(0)
            running -= 1
            turn.blocked = turn.blocked or each.message_id == str(blocked_at)

    await asyncio.gather(*(take(each) for each in deliveries))
    return order


async def test_group_deliveries_get_turns_one_by_one_in_order() -> None:
    order = await _turns(MessageGroups(), [delivery(number) for number in range(5)])
    assert order == [(str(number), False) for number in range(5)]


async def test_released_delivery_blocks_the_rest_of_its_group() -> None:
    order = await _turns(MessageGroups(), [delivery(number) for number in range(4)], blocked_at=1)
    assert order == [("0", False), ("1", False), ("2", True), ("3", True)]


async def test_blocked_group_without_waiting_deliveries_is_unblocked() -> None:
    groups = MessageGroups()
    await _turns(groups, [delivery(0), delivery(1)], blocked_at=0)
    assert await _turns(groups, [delivery(0), delivery(1)]) == [("0", False), ("1", False)]


async def test_other_groups_and_unordered_queues_do_not_wait() -> None:
    groups = MessageGroups()
    first, other_group, unordered = delivery(0), delivery(1, group="b"), delivery(2, queue="plain")
    another = groups.turn(delivery(3, queue="plain"))
    async with (
        asyncio.timeout(5),
        groups.turn(first),
        groups.turn(other_group),
        groups.turn(unordered),
        another as turn,
    ):
        assert not turn.blocked


async def test_cancelled_wait_passes_the_turn_to_the_next_delivery() -> None:
    groups = MessageGroups()
    async with groups.turn(delivery(0)):
        waiting = asyncio.create_task(_turns(groups, [delivery(1)]))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert await _turns(groups, [delivery(2)]) == [("2", False)]
