"""The messages that Celery and ``taskq_cloud.celery`` send for the same calls."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.celery.interop.conftest import Place
from tests.celery.interop.loading import CELERY, OURS, Project
from tests.celery.interop.wire import Names, differences, messages_of, opened

IDS: Final = [f"00000000-0000-4000-8000-{number:012}" for number in range(10)]

CALLS: Final[dict[str, Callable[[Project], Any]]] = {
    "delay": lambda p: p.add.delay(1, 2),
    "keywords": lambda p: p.echo.delay(1, "na\u00efve", key={"nested": [1, None, True, 1.5]}),
    "long arguments": lambda p: p.echo.delay("x" * 5000, list(range(500)), key={"deep": [[[[[[1]]]]]]}),
    "rich arguments": lambda p: p.echo.delay(datetime(2026, 1, 2, tzinfo=UTC), {"at": datetime(2026, 1, 2)}),
    "task_id": lambda p: p.add.apply_async((1, 2), task_id=IDS[0]),
    "countdown": lambda p: p.add.apply_async((1, 2), countdown=2),
    "eta": lambda p: p.add.apply_async((1, 2), eta=datetime.now(UTC) + timedelta(seconds=2)),
    "eta in the past": lambda p: p.add.apply_async((1, 2), eta=datetime.now(UTC) - timedelta(seconds=200)),
    "expires in seconds": lambda p: p.add.apply_async((1, 2), expires=200),
    "expires at a time": lambda p: p.add.apply_async((1, 2), expires=datetime.now(UTC) + timedelta(seconds=300)),
    "priority": lambda p: p.add.apply_async((1, 2), priority=9),
    "priority 0": lambda p: p.sell.apply_async(("hat", 1), priority=0),
    "priority of the task": lambda p: p.sell.delay("hat", 1),
    "limits": lambda p: p.add.apply_async((1, 2), time_limit=30, soft_time_limit=20),
    "shadow": lambda p: p.add.apply_async((1, 2), shadow="other.name"),
    "headers": lambda p: p.add.apply_async((1, 2), headers={"own": {"deep": 1}}),
    "reprs": lambda p: p.add.apply_async((1, 2), argsrepr="<secret>", kwargsrepr="{hidden}"),
    "ignore_result": lambda p: p.add.apply_async((1, 2), ignore_result=True),
    "ignore_result of the task": lambda p: p.quiet.delay("key"),
    "gzip": lambda p: p.add.apply_async((1, 2), compression="gzip"),
    "pickle": lambda p: p.echo.apply_async(({1, 2},), serializer="pickle"),
    "pickle and gzip": lambda p: p.echo.apply_async(({1, 2},), serializer="pickle", compression="gzip"),
    "route": lambda p: p.routed.delay(),
    "queue": lambda p: p.add.apply_async((1, 2), queue=p.SECOND_QUEUE),
    "reply_to": lambda p: p.add.apply_async((1, 2), reply_to=IDS[1]),
    "retries": lambda p: p.add.apply_async((1, 2), retries=2),
    "parents": lambda p: p.add.apply_async((1, 2), root_id=IDS[1], parent_id=IDS[2]),
    "group_id": lambda p: p.add.apply_async((1, 2), group_id=IDS[1], group_index=3),
    "tenant": lambda p: p.add.apply_async((1, 2), MessageGroupId="acme"),
    "message_attributes": lambda p: p.add.apply_async(
        (1, 2), message_attributes={"kind": {"DataType": "String", "StringValue": "x"}}
    ),
    "delivery_mode": lambda p: p.add.apply_async((1, 2), delivery_mode=1),
    "link": lambda p: p.add.apply_async((1, 2), link=p.note.s(word="good")),
    "links": lambda p: p.add.apply_async(
        (1, 2), link=[p.note.s(), p.note.si("x").set(queue=p.SECOND_QUEUE, priority=3)]
    ),
    "link_error": lambda p: p.add.apply_async((1, 2), link_error=[p.note.s(), p.by_name("elsewhere.task")]),
    "link of a chain": lambda p: p.add.apply_async((1, 2), link=p.chain(p.add.s(1), p.mul.s(2))),
    "link of a chord": lambda p: p.add.apply_async((1, 2), link=p.chord([p.add.s(1), p.mul.s(2)], p.total.s())),
    "class": lambda p: p.reserve.delay("hat", count=2),
    "bound": lambda p: p.flaky.delay(2),
    "send_task": lambda p: p.app.send_task("elsewhere.task", (1,), {"key": 2}, priority=5, headers={"own": 1}),
    "send_task of a task": lambda p: p.app.send_task("shop.sell", ("hat",), countdown=1),
    "send_task to a queue": lambda p: p.app.send_task("elsewhere.task", queue=p.SECOND_QUEUE, ignore_result=True),
    "signature": lambda p: p.add.s(1, 2).delay(),
    "signature with options": lambda p: p.add.s(1).set(priority=3, headers={"own": 1}).apply_async((9,), expires=200),
    "immutable signature": lambda p: p.add.si(1, 2).apply_async((9,)),
    "signature by name": lambda p: p.by_name("elsewhere.task", 1, 2).delay(3),
    "changed in place": lambda p: p.changed_in_place(*IDS[:2]).delay(),
    "stamps": lambda p: _stamped(p, p.add.s(1, 2)).delay(),
    "stamps with append": lambda p: p.add.s(1, 2).stamp(tenant="acme", shop=["a", "b"]).delay(),
    "map": lambda p: p.add.map([1, 2]).delay(),
    "starmap": lambda p: p.add.starmap([(1, 2), (3, 4)]).delay(),
    "chunks": lambda p: p.add.chunks([(1, 2), (3, 4), (5, 6)], 2).delay(),
    "chain": lambda p: p.chain(p.add.s(1, 2), p.mul.s(3), p.sell.si("hat", 1)).delay(),
    "chain with |": lambda p: (p.add.s(1, 2) | p.mul.s(3)).delay(),
    "chain with options": lambda p: p.chain(p.add.s(1, 2), p.mul.s(3).set(priority=2)).apply_async(
        queue=p.SECOND_QUEUE, link=p.note.s(), link_error=p.note.si("x"), headers={"own": 1}, expires=200
    ),
    "chain by name": lambda p: p.chain(
        p.by_name("a.b", 1), p.by_name("c.d").set(queue=p.SECOND_QUEUE), p.routed.s()
    ).delay(),
    "stamped chain": lambda p: _stamped(p, p.chain(p.add.s(1, 2), p.mul.s(3))).delay(),
    "group": lambda p: p.group(p.add.s(1, 2), p.mul.s(3, 4), p.sell.s("hat", 1)).delay(),
    "group with options": lambda p: p.group(p.add.s(1), p.mul.s(3)).apply_async((9,), priority=3, headers={"own": 1}),
    "group of chains": lambda p: p.group(p.chain(p.add.s(1, 2), p.mul.s(3)), p.add.s(1, 1)).delay(),
    "group in a group": lambda p: p.group(p.group(p.add.s(1, 2), p.mul.s(3, 4)), p.add.s(1, 1)).delay(),
    "stamped group": lambda p: _stamped(p, p.group(p.add.s(1, 2), p.mul.s(3, 4))).delay(),
    "chord": lambda p: p.chord([p.add.s(1, 2), p.mul.s(3, 4)], p.total.s()).delay(),
    "chord with options": lambda p: p.chord(
        [p.add.s(1, 2), p.mul.s(3, 4)], p.total.s().set(priority=3, link=[p.note.s()])
    ).apply_async(priority=5, headers={"own": 1}),
    "chord with errback": lambda p: p.chord([p.add.s(1, 2), p.mul.s(3, 4)], p.total.s().on_error(p.note.s())).delay(),
    "chord of chains": lambda p: p.chord([p.chain(p.add.s(1, 2), p.mul.s(3)), p.add.s(1, 1)], p.total.s()).delay(),
    "chord with a chain as its body": lambda p: p.chord(
        [p.add.s(1, 2), p.mul.s(3, 4)], p.chain(p.total.s(), p.add.s(1))
    ).delay(),
    "group in the middle of a chain": lambda p: p.chain(
        p.add.s(1, 2), p.group(p.add.s(1), p.mul.s(2)), p.total.s(), p.same.s()
    ).delay(),
    "group at the beginning of a chain": lambda p: (
        p.group(p.add.s(1, 2), p.mul.s(3, 4)) | p.total.s() | p.same.s()
    ).delay(),
    "group at the end of a chain": lambda p: p.chain(p.add.s(1, 2), p.group(p.add.s(1), p.mul.s(2))).delay(),
    "chord in a chain": lambda p: p.chain(p.add.s(1, 2), p.chord([p.add.s(1), p.mul.s(2)], p.total.s())).delay(),
    "chord in a chord": lambda p: p.chord(
        [p.chord([p.add.s(1, 2), p.mul.s(3, 4)], p.total.s()), p.add.s(1, 1)], p.total.s()
    ).delay(),
    "stamped chord": lambda p: _stamped(p, p.chord([p.add.s(1, 2), p.mul.s(3, 4)], p.total.s())).delay(),
}
"""The calls, by name."""


def _stamped(project: Project, sig: Any) -> Any:
    sig.stamp(project.Tenant())
    return sig


DIFFERENCES: Final[dict[str, str]] = {
    r"\.taskq_call$|\.options\.headers$": "the mark of a call: a worker knows by it a call that was sent twice",
    r"\.chord\.options\.(chord_due|chord_ids)$": "what a worker here needs to count a chord's members",
    r"\.chord\b.*\.options\.(chord_group|group_id|task_id|root_id)$": "no worker reads it: a member's headers have it",
    r"\.chain\[0\]\.options\.task_id$": "a chord has the id of its body",
    r"^several\[\d\]\.headers\.root_id$": "tasks of one call have one root; in Celery, each member has its own",
    r"\.options\.(root_id|parent_id)$": "the worker that sends the task knows its root and its parent",
    r"\.kwargs\.tasks\[\d\]\.options\.group_index$": "the worker that sends a group numbers its members",
    r"\.group_index$": "members of nested groups have numbers of their own; Celery gives some the same number",
    r"\.properties\.expiration$": "a property for RabbitMQ, which other brokers do not obey",
    r"\.properties\.(argsrepr|kwargsrepr|MessageGroupId)$": "an option that Celery writes to a second place",
    r"\.properties\.delivery_mode$": "a property for RabbitMQ; messages are always kept",
    r"\.headers\.(argsrepr|kwargsrepr)$": "the text for logs is shorter here, so that messages are small",
    r"\.options\.(queue|priority)$": "the caller writes down the routes of later tasks, which workers need not know",
    r"\.callbacks\[0\]\.kwargs\.header$": "a header is always a group; Celery also writes a list",
    r"\.body\[2\]\.chain$": "a chord and what follows it is one step: a chord with a chain as its body",
}
"""Places at which messages may differ, as patterns, each with the reason."""


def unexpected(found: list[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    return [each for each in found if not any(re.search(pattern, each[0]) for pattern in DIFFERENCES)]


def sent(call: str, project: Project, client: Any, queues: list[str], count: int | None = None) -> list[Any]:
    """Make a call, and return the messages that were sent.

    Args:
        call: the name of the call.
        project: the project that makes it.
        client: the client of SQS.
        queues: the queues of the messages.
        count: how many messages are waited for; None: those that are there at once.
    """
    CALLS[call](project)
    oid = project.app.thread_oid
    found = [opened(each, oid) for queue in queues for each in messages_of(client, queue)]
    while len(found) < (count or 1):
        found += [opened(each, oid) for each in messages_of(client, queues[0], (count or 1) - len(found))]
    found.sort(key=lambda each: str(each["body"][:2]))
    return Names().of_messages(found)


@pytest.mark.parametrize("call", CALLS)
def test_messages_of_a_call_are_celerys(call: str, sides: dict[str, Project], sqs_client: Any, place: Place) -> None:
    queues = [place.queue, place.second_queue]
    theirs = sent(call, sides[CELERY], sqs_client, queues)
    ours = sent(call, sides[OURS], sqs_client, queues, len(theirs))
    assert len(ours) == len(theirs)
    assert unexpected(differences(theirs, ours, "several" if len(theirs) > 1 else "one")) == []
