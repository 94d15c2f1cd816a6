"""The calls that the demo makes, and the outcome that each of them must have.

The outcomes are known because the shop's simulated services fail by the number of the order, photo or year.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shop import app, images, orders, services

from taskq_cloud import AsyncResult, Task

UNREADABLE_MESSAGES = {
    "orders": '{"please": "charge order 17 once more"}',
    "images": "<photo>19.ppm</photo>",
}
"""Queue -> a message that no worker can read, so it must reach the dead-letter queue, with the reason."""

FIRST_YEAR = 1997


@dataclass(frozen=True)
class Call:
    """One call of a task, with its expected outcome: error and number of attempts."""

    task: Task[..., Any]
    args: tuple[Any, ...]
    error: str | None = None
    attempts: int = 1

    @property
    def state(self) -> str:
        """The expected final state."""
        return "FAILURE" if self.error else "SUCCESS"


@dataclass(frozen=True)
class SentCall:
    """A call that was sent."""

    call: Call
    id: str
    sent_at: float


def plan(total: int) -> list[Call]:
    """Return about ``total`` calls, of all tasks of the shop."""
    retries = orders.charge_card.options.max_retries or 0

    def retried(task: Task[..., Any], number: int, args: tuple[Any, ...]) -> Call:
        busy = services.times_busy(number)
        return Call(task, args, "Busy" if busy > retries else None, min(busy, retries) + 1)

    calls = []
    for number in range(total * 20 // 100):
        key = f"{number}.ppm"
        calls.append(Call(images.resize_photo, (key, 48), "NotAPhoto" if services.is_damaged(key) else None))
        calls.append(retried(images.publish_photo, number, (key,)))
        calls.append(Call(orders.send_receipt, (number, f"customer{number}@shop.example")))
        if services.is_declined(number):
            calls.append(Call(orders.charge_card, (number, 995), "Declined"))
        else:
            calls.append(retried(orders.charge_card, number, (number, 995)))
    for number in range(total * 10 // 100):
        wrong = number % 6 == 0
        lines = f"lamp,2500\nchair,{'cheap' if wrong else 4900 + number}\n"
        calls.append(Call(orders.import_catalogue, (lines,), "ValueError" if wrong else None))
    for year in range(FIRST_YEAR, FIRST_YEAR + max(4, total * 10 // 100)):
        slow = year < services.FIRST_FAST_YEAR
        calls.append(Call(orders.build_report, (year,), "TimeLimitExceeded" if slow else None))
    return calls


def send(calls: Sequence[Call]) -> list[SentCall]:
    """Send all calls, in bulk for each task. Calls of coroutines are sent from an event loop, as a web server would."""
    sent = []
    for task in dict.fromkeys(call.task for call in calls):
        ours = [call for call in calls if call.task is task]
        now = time.time()
        if inspect.iscoroutinefunction(task.__wrapped__):
            results = asyncio.run(_send_from_event_loop(task, ours))
        else:
            results = task.map_async(call.args for call in ours)
        sent += [SentCall(call, result.id, now) for call, result in zip(ours, results, strict=True)]
    return sent


async def _send_from_event_loop(task: Task[..., Any], calls: Sequence[Call]) -> list[AsyncResult[Any]]:
    try:
        return await task.amap_async(call.args for call in calls)
    finally:
        await app.aclose()
