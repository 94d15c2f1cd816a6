"""The remote control commands that a worker answers in its own process."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import Any, Final

from taskq_cloud.celery.utils.serialization import jsonify, strtobool
from taskq_cloud.celery.worker.panel import inspect_command, ok

DEFAULT_TASK_INFO_ITEMS: Final = ("exchange", "routing_key", "rate_limit")


@inspect_command()
def report(state: Any) -> Any:
    """Facts for the report of a bug."""
    return ok(state.app.bugreport())


@inspect_command(alias="dump_conf", signature="[include_defaults=False]", args=[("with_defaults", strtobool)])
def conf(state: Any, with_defaults: bool = False, **kwargs: Any) -> Any:
    """List the configuration."""
    return jsonify(
        state.app.conf.table(with_defaults=with_defaults),
        keyfilter=lambda key: isinstance(key, str) and not key.startswith("__"),
        unknown_type_filter=repr,
    )


@inspect_command()
def clock(state: Any, **kwargs: Any) -> Any:
    """Get the logical clock."""
    return {"clock": state.app.clock.value}


@inspect_command(default_timeout=0.2)
def ping(state: Any, **kwargs: Any) -> Any:
    """Ping workers."""
    return ok("pong")


@inspect_command()
def stats(state: Any, **kwargs: Any) -> Any:
    """Statistics of workers."""
    worker = getattr(state.consumer, "controller", state.consumer)
    facts = getattr(worker, "stats", None)
    return {"pid": os.getpid(), "clock": str(state.app.clock)} if facts is None else facts()


@inspect_command(alias="dump_tasks", variadic="taskinfoitems", signature="[attr1 [attr2 [... [attrN]]]]")
def registered(state: Any, taskinfoitems: Iterable[Any] | None = None, builtins: bool = False, **kwargs: Any) -> Any:
    """List the registered tasks."""
    items = taskinfoitems or DEFAULT_TASK_INFO_ITEMS
    shown = [item for item in items if isinstance(item, str) and not item.startswith("_")]
    tasks = state.app.tasks
    return [_described(tasks[name], shown) for name in sorted(tasks) if builtins or not name.startswith("celery.")]


def _described(task: Any, items: Iterable[str]) -> str:
    values = {item: getattr(task, item, None) for item in items}
    known = " ".join(f"{item}={value}" for item, value in values.items() if value is not None)
    return f"{task.name} [{known}]" if known else str(task.name)


@inspect_command()
def active_queues(state: Any) -> Any:
    """List the queues that a worker serves."""
    return [dict(queue.as_dict(recurse=True)) for queue in state.app.amqp.queues.consume_from.values()]


@inspect_command()
def memsample(state: Any, **kwargs: Any) -> Any:
    """Sample the memory."""
    from taskq_cloud.celery.utils.debug import sample_mem  # few workers are asked for it

    return sample_mem()


@inspect_command(args=[("samples", int)], signature="[n_samples=10]")
def memdump(state: Any, samples: int = 10, **kwargs: Any) -> Any:
    """Print the samples of the memory."""
    from taskq_cloud.celery.utils import debug  # few workers are asked for it

    out = io.StringIO()
    debug.memdump(samples, file=out)
    return out.getvalue()
