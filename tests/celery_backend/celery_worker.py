"""Stands in for Celery's callers and workers: sends workflows, and reads the sent messages as requests."""

from __future__ import annotations

from typing import Any

import celery
from celery.app.task import Context


def sent(app: Any) -> list[Any]:
    """Take all messages from Celery's queue: the task's name, headers, arguments and embed of each."""
    read = []
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        while queue.qsize():
            message = queue.get(block=False)
            message.ack()
            headers, (args, kwargs, embed) = message.headers, message.payload
            read.append((headers["task"], headers, args, kwargs, embed))
        queue.close()
    return read


def request(headers: dict[str, Any], embed: dict[str, Any], **more: Any) -> Context:
    """Make the request that Celery's worker makes from a message."""
    return Context({**headers, **embed, "delivery_info": {"routing_key": "celery"}, **more})


def start(app: Any, workflow: Any) -> tuple[Any, list[Context]]:
    """Send a workflow; returns its result and the requests of its first tasks."""
    result = workflow.apply_async()
    return result, [request(headers, embed, args=args, kwargs=kwargs) for _, headers, args, kwargs, embed in sent(app)]


def continue_chain(app: Any, ended: Context, value: Any) -> list[Context]:
    """Send the next task of a chain as Celery's worker does after a success; returns the requests of the sent tasks."""
    chain = list(ended.chain)
    celery.signature(chain.pop(), app=app).apply_async((value,), chain=chain, parent_id=ended.id, root_id=ended.root_id)
    return [request(headers, embed, args=args, kwargs=kwargs) for _, headers, args, kwargs, embed in sent(app)]


def make_chord(app: Any, members: int = 3, **options: Any) -> Any:
    """Make a chord whose members have these options."""
    add, total = app.tasks["add"], app.tasks["total"]
    return celery.chord([add.s(n, n).set(**options) for n in range(members)], total.s(), app=app)
