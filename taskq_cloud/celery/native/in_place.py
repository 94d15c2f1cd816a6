"""Running tasks and workflows in the calling process: ``apply``, and calls under ``task_always_eager``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.calling import eager_workflows
from taskq_cloud.calling.options import call_options, make_message
from taskq_cloud.celery.exceptions import Ignore, Reject
from taskq_cloud.celery.native import running
from taskq_cloud.celery.native.calls import native_options
from taskq_cloud.celery.utils.functional import maybe_list
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.records.record import IGNORED, REJECTED
from taskq_cloud.core.serializers.registry import serializer_named

_DELIVERY: Final = frozenset({"queue", "exchange", "routing_key"})
"""Options that say where a message is sent, which have no effect in place."""


def as_sent(args: Any, kwargs: Any, serializer: str) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Write arguments with a serializer and read them back, as a worker would get them.

    Raises:
        EncodeError: the serializer can't write them.
    """
    format_ = serializer_named(serializer)
    args, kwargs = format_.decode(format_.encode([list(args or ()), dict(kwargs or {})]))
    return args, kwargs


def run_task(app: Any, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    """Run a task in place, with its retries, and return its ``EagerResult``.

    Args:
        app: the application.
        name: the task's name.
        args: the positional arguments, which are not copied.
        kwargs: the keyword arguments.
        options: the options of the call, with ``retries`` among them.
    """
    from taskq_cloud.celery.result import adopt  # a process that only sends runs nothing in place

    native, task = app.native, dict.get(app._tasks, name)
    if task is not None:
        options.setdefault("ignore_result", task.ignore_result)
    given = native_options(app, name, {key: of for key, of in options.items() if key not in _DELIVERY})
    message = make_message(name, args, kwargs, call_options(name, given), native.options_of(name))
    place: dict[str, Any] = {
        "retries": options.get("retries") or 0,
        "root_id": options.get("root_id") or message.root_id,
        "parent_id": options.get("parent_id") or message.parent_id,
        "group": options.get("group_id"),
        "group_index": options.get("group_index"),
    }
    token = running.in_place_request.set({"id": message.id, **_request_attributes(options)})
    try:
        result = adopt(eager_workflows.run_message(native, replace(message, **place)), app)
    finally:
        running.in_place_request.reset(token)
    result._name = name
    if result.state in (IGNORED, REJECTED):
        result._result = Ignore() if result.state == IGNORED else Reject(result.result)
    return result


def _request_attributes(options: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the request that no message has, and those that have no meaning in place."""
    delivery = {name: options.get(name) for name in ("exchange", "routing_key", "priority")}
    stamped = maybe_list(options.get("stamped_headers"))
    return {
        **dict.fromkeys(("eta", "expires", "group_index", "shadow")),
        "delivery_info": {"is_eager": True, **delivery},
        "headers": options.get("headers"),
        "logfile": options.get("logfile"),
        "loglevel": options.get("loglevel") or 0,
        "stamped_headers": stamped,
        "stamps": {name: maybe_list(options.get(name, [])) for name in stamped} if stamped else None,
    }
