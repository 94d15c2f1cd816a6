import asyncio

from taskq_cloud.core.model.message import Delivery
from taskq_cloud.worker.ordering import Groups


def delivery(number: int, queue: str = "orders.fifo", group: str | None = "a") -> Delivery:
    return Delivery(queue=queue, message_id=str(number), receipt=str(number), body="", group=group)


async def _turns(groups: Groups, deliveries: list[Delivery], broken_at: int | None = None) -> list[tuple[str, bool]]:
    """Take every delivery's turn; the order they came in, and whether each was broken."""
    order: list[tuple[str, bool]] = []
    running = 0

    async def take(each: Delivery) -> None:
        nonlocal running
        async with groups.turn(each) as turn:
            running += 1
            order.append((each.message_id, turn.broken))
            if each.group is not None and each.queue.endswith(".fifo"):
                assert running == 1
            await asyncio.sleep(0)
            running -= 1
            turn.broken = turn.broken or each.message_id == str(broken_at)

    await asyncio.gather(*(take(each) for each in deliveries))
    return order


async def test_a_group_is_taken_one_by_one_and_in_order():
    order = await _turns(Groups(), [delivery(number) for number in range(5)])
    assert order == [(str(number), False) for number in range(5)]


async def test_what_was_given_back_breaks_the_rest_of_its_group():
    order = await _turns(Groups(), [delivery(number) for number in range(4)], broken_at=1)
    assert order == [("0", False), ("1", False), ("2", True), ("3", True)]


async def test_a_broken_group_is_whole_again_once_none_of_it_is_held():
    groups = Groups()
    await _turns(groups, [delivery(0), delivery(1)], broken_at=0)
    assert await _turns(groups, [delivery(0), delivery(1)]) == [("0", False), ("1", False)]


async def test_groups_and_unordered_queues_do_not_wait_for_each_other():
    groups = Groups()
    first, other_group, unordered = delivery(0), delivery(1, group="b"), delivery(2, queue="plain")
    another = groups.turn(delivery(3, queue="plain"))
    async with (
        asyncio.timeout(5),
        groups.turn(first),
        groups.turn(other_group),
        groups.turn(unordered),
        another as turn,
    ):
        assert not turn.broken


async def test_a_cancelled_wait_leaves_the_group_to_the_next():
    groups = Groups()
    async with groups.turn(delivery(0)):
        waiting = asyncio.create_task(_turns(groups, [delivery(1)]))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert await _turns(groups, [delivery(2)]) == [("2", False)]
