"""Calls by name: Celery's options become those of the native call, and the message goes out by the native outbox."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from taskq_cloud.calling import defaults, tasks, workflows
from taskq_cloud.calling.options import LINKS, CallOptions, call_options, make_message, make_transport
from taskq_cloud.celery.native import collecting
from taskq_cloud.celery.native.handlers import overrides_apply_async
from taskq_cloud.core.execution.run_context import note_called
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import fields, replace
from taskq_cloud.core.model.options import ignores_result
from taskq_cloud.core.workflows.signatures import signature_of

NATIVE: Final = frozenset(each.name for each in fields(CallOptions))
"""The options that a native call knows."""
PLACE: Final = frozenset(
    {"group_id", "group_index", "chord", "chain", "reply_to", "replaced_task_nesting", "stamped_headers"}
)
"""The options by which a call has a place in a workflow."""
_OF_MESSAGE: Final = ("retries", "root_id", "parent_id")
"""What few calls say of their own messages: their number of retries, and the task that they come from."""
_OF_GROUP: Final = {"group_id": "group", "group_index": "group_index"}
"""The fields of a message that say which member of a group it is of, by the options."""


def send(app: Any, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> str:
    """Send the message of a call, and return the task's id.

    Args:
        app: the application.
        name: the task's name; it need not be registered here.
        args: the positional arguments.
        kwargs: the keyword arguments.
        options: the options of the call, after routing.

    Raises:
        TypeError: the arguments aren't a list and a mapping.
        OperationalError: the broker did not accept the message.
    """
    with collecting.sent_by_caller(options.get("task_id")):
        return _send(app, name, args, kwargs, options)


def _send(app: Any, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> str:
    if args is not None and not isinstance(args, list | tuple):
        raise TypeError("task args must be a list or tuple")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError("task keyword arguments must be a mapping")
    native, given = app.native, native_options(app, name, options)
    place = {option: options[option] for option in PLACE if options.get(option) is not None}
    is_collected = collecting.is_collected(options.get("task_id"))
    changed = {field: options[field] for field in _OF_MESSAGE if options.get(field)}
    if changed and place.keys() <= _OF_GROUP.keys() and not is_collected:
        changed |= {_OF_GROUP[option]: value for option, value in place.items()}
        native.run(_send_changed(native, name, (args or (), kwargs or {}), given, changed))
        return str(given["task_id"])
    if not place and not is_collected:
        (sent,) = native.run(tasks.send(native, name, [(args or (), kwargs or {})], call_options(name, given)))
        return str(sent.id)
    stamps = {stamp: options[stamp] for stamp in place.get("stamped_headers", ()) if stamp in options}
    if is_collected:
        place = collecting.without_place(place)
    if following := place.get("chain"):
        place["chain"] = _links(app, following)
    plain = signature_of(name, args=args or (), kwargs=kwargs or {}, options={**given, **place, **stamps})
    if is_collected:
        collecting.add(_marked(app, plain))
    else:
        native.run(workflows.send(native, plain))
    return str(given["task_id"])


def _marked(app: Any, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Note in a collected call that it comes from the ``apply_async`` of its task's class, if that has its own."""
    task = dict.get(app._tasks, plain["task"])
    if task is None or not overrides_apply_async(task):
        return dict(plain)
    headers = {**(plain["options"].get("headers") or {}), collecting.CALLED: True}
    return {**plain, "options": {**plain["options"], "headers": headers}}


def _send_changed(
    native: Any, name: str, arguments: tasks.Arguments, given: Mapping[str, Any], changed: Mapping[str, Any]
) -> Flow[None]:
    """Send a call whose message says something else than that it is the first attempt of a new call."""
    call, declared = call_options(name, given), native.options_of(name)
    if call.link or call.link_error:
        link, link_error = (defaults.of_links(native, each or ()) for each in (call.link, call.link_error))
        call = replace(call, link=link or None, link_error=link_error or None)
    message = replace(make_message(name, *arguments, call, declared), **changed)
    queue, transport = call.queue or native.route(name), make_transport(call, declared)
    answers = yield from native.outbox.send([native.outbox.address(message, queue, time.time(), transport)])
    ignored = ignores_result(call.ignore_result, declared, native.conf.task_ignore_result)
    if call.add_to_parent and not ignored:
        note_called([message.id])
    tasks.raise_refusals(answers, [], one=f"task {name}[{message.id}]", all_of_them="")


def native_options(app: Any, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call that the native application knows, in its form.

    Args:
        app: the application.
        name: the task's name.
        options: Celery's options of the call.
    """
    given = {option: value for option, value in options.items() if option in NATIVE and value is not None}
    for option in ("eta", "expires"):
        if option in given:
            given[option] = _time(app, given[option])
    if given.get("countdown"):
        given.pop("eta", None)
    else:
        given.pop("countdown", None)  # as in Celery, a countdown of 0 is none
    if "message_attributes" in given:
        given["message_attributes"] = {attribute: _text(of) for attribute, of in given["message_attributes"].items()}
    if "queue" in given or options.get("routing_key") or options.get("exchange"):
        from taskq_cloud.celery.app.amqp import native_queue  # most calls go to their task's queue

        given["queue"] = native_queue(app, dict(options))
    for option in LINKS:
        if option in given:
            given[option] = _links(app, given[option])
    for option in ("retry", "retry_policy"):
        given.pop(option, None)
    return given


def _text(value: Any) -> Any:
    """The text of a message attribute, which kombu takes in the form of SQS's API."""
    if isinstance(value, Mapping) and value.get("DataType") == "String":
        return value.get("StringValue")
    return value


def _time(app: Any, value: Any) -> Any:
    """A time as Celery takes it: ISO 8601 text is read, and a naive time is one of the application's time zone."""
    if isinstance(value, str):
        from taskq_cloud.celery.utils.time import maybe_iso8601  # few calls have a time as text

        value = maybe_iso8601(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        from taskq_cloud.celery.utils.time import maybe_make_aware  # few calls have a naive time

        return maybe_make_aware(value, app.timezone)
    return value


def _links(app: Any, linked: Any) -> list[Any]:
    from taskq_cloud.celery.canvas.native_form import plain  # few calls have links

    listed = linked if isinstance(linked, list | tuple | set) else [linked]
    return [plain(each, app) for each in listed]
