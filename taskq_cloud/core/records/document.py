"""The payload of a record: Celery's result document as JSON, key for key, so that Celery's readers can read it.

Source: Celery 5.7, ``celery.backends.base.Backend._get_result_meta``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud import errors
from taskq_cloud.core import serializers
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records.record import EXCEPTION_STATES, READY_STATES

_CELERY_MODULES: Final = frozenset({"celery.exceptions", "celery.backends.base", "billiard.exceptions"})

STARTED_AT: Final = "date_started"
"""A key that Celery's documents don't have, next to its ``date_done``."""

MOST_CHILDREN: Final = 1000
"""The most ids of children that a record holds: more would not fit into a record of DynamoDB's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """The parts of a document that only the run of a task knows.

    Args:
        worker: the name of the worker that ran the task.
        queue: the queue that the task was received from.
        extended: whether to write the keys of ``result_extended``: name, arguments, worker, retries and queue.
        started_at: when the run began, in seconds since the epoch; None: not written.
        added: the signatures that the task has added to its chord.
    """

    worker: str | None = None
    queue: str | None = None
    extended: bool = False
    started_at: float | None = None
    added: Sequence[Signature] = ()


def encode(
    message: Message,
    state: str,
    result: str,
    *,
    now: float,
    traceback: str | None = None,
    children: Sequence[str] = (),
    run: RunDetails = RunDetails(),
) -> str:
    """Write a result document as JSON text.

    Args:
        message: the task's message.
        state: the task's state.
        result: the task's value, error or progress as JSON text, which goes into the document as it is.
        now: the time, in seconds since the epoch.
        traceback: the formatted traceback of an error.
        children: ids of the tasks that follow from this one.
        run: the parts that only the run of the task knows.
    """
    after: dict[str, Any] = {
        "traceback": traceback,
        "children": [[[child, None], None] for child in children],
        "date_done": _iso(now) if state in READY_STATES else None,
    }
    if message.group:
        after["group_id"] = message.group
    if message.parent_id:
        after["parent_id"] = message.parent_id
    if run.added:
        after["added"] = list(run.added)
    if message.replaced_task_nesting:
        after["replaced_task_nesting"] = message.replaced_task_nesting
    if run.extended:
        after |= _extended_keys(message, run)
    if run.started_at is not None:
        after[STARTED_AT] = _iso(run.started_at)
    after["task_id"] = message.id
    try:
        rest = serializers.dumps(after)
    except errors.EncodeError:
        # Arguments that came pickled may not fit into JSON: they are shown as their sender described them.
        rest = serializers.dumps({**after, "args": message.argsrepr, "kwargs": message.kwargsrepr})
    return f'{{"status":{serializers.dumps(state)},"result":{result},{rest[1:]}'


def _extended_keys(message: Message, run: RunDetails) -> dict[str, Any]:
    return {
        "name": message.task,
        "args": list(message.args),
        "kwargs": dict(message.kwargs),
        "worker": run.worker,
        "retries": message.retries,
        "queue": run.queue,
    }


def encode_error(error: ErrorInfo) -> str:
    """Write an error as JSON text, in the form that it has as the ``result`` of a document."""
    return serializers.dumps(
        {"exc_type": error.exc_type, "exc_message": list(error.exc_message), "exc_module": error.exc_module}
    )


def decode(payload: str) -> dict[str, Any]:
    """Read a result document.

    Raises:
        DecodeError: the payload isn't a result document.
    """
    document = serializers.loads(payload)
    if not isinstance(document, dict) or "status" not in document:
        raise errors.DecodeError(f"the payload of the record isn't a result document: {payload[:200]!r}")
    return document


def child_ids(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of a document's children, which Celery writes as ``[[id, parent], children]`` tuples."""
    for child in document.get("children") or ():
        match child:
            case [[str() as child_id, *_], *_]:
                yield child_id


def error_of(document: Mapping[str, Any]) -> ErrorInfo | None:
    """Read the error of a failed task from its document, as ``encode_error`` was given it; None if there is none."""
    match document.get("result"):
        case {"exc_type": str(kind), "exc_message": [*message], **rest} if document["status"] in EXCEPTION_STATES:
            return ErrorInfo(kind, message, str(rest.get("exc_module") or "builtins"), document.get("traceback"))
    return None


def exception_of(result: Any) -> Exception:
    """Make the exception that a document's ``result`` describes.

    Its class is looked up in the modules that are already imported; no module is imported for it. A name that isn't
    found, or isn't an exception's, gives a ``RemoteError`` with that name, so that a stored document can't make its
    reader call anything else.
    """
    if not isinstance(result, dict) or "exc_type" not in result:
        return errors.RemoteError(result)
    name, module = str(result["exc_type"]), str(result.get("exc_module") or "builtins")
    arguments = result.get("exc_message", ())
    arguments = tuple(arguments) if isinstance(arguments, list | tuple) else (arguments,)
    found: Any = errors if module in _CELERY_MODULES else sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    # SystemExit and its like are left out: a stored document must not end its reader's process or cancel its coroutine.
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(*arguments)
        except Exception:  # noqa: BLE001 - a class may do anything with arguments that it doesn't expect
            return errors.RemoteError(*arguments, exc_type=name, exc_module=module)
    return errors.RemoteError(*arguments, exc_type=name, exc_module=module)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
