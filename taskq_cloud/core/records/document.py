"""A record's payload: Celery's result document as JSON, key for key, so that Celery's readers can read it.

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
"""A key that Celery's documents don't have, beside its ``date_done``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a task ran, for the document's extended keys (``result_extended``), and when it began.

    Args:
        worker: the worker's name.
        queue: where the task was received.
        extended: whether these are written.
        started_at: when it began, in seconds since the epoch; None: not to be written.
    """

    worker: str | None = None
    queue: str | None = None
    extended: bool = False
    started_at: float | None = None


def encode(
    message: Message,
    state: str,
    result: str,
    *,
    now: float,
    traceback: str | None = None,
    children: Sequence[str] = (),
    added: Sequence[Signature] = (),
    context: Context = Context(),
) -> str:
    """Write a document.

    Args:
        message: the task's message.
        state: its state.
        result: its value, error or progress, as JSON text: it is placed as it stands, not encoded again.
        now: the time, in seconds since the epoch.
        traceback: of a failure.
        children: ids of the tasks that follow from it.
        added: what it has added to its chord.
        context: where it ran.
    """
    done = _iso(now) if state in READY_STATES else None
    after: dict[str, Any] = {
        "traceback": traceback,
        "children": [[[child, None], None] for child in children],
        "date_done": done,
    }
    if message.group:
        after["group_id"] = message.group
    if message.parent_id:
        after["parent_id"] = message.parent_id
    if added:
        after["added"] = list(added)
    if message.replaced_task_nesting:
        after["replaced_task_nesting"] = message.replaced_task_nesting
    if context.extended:
        after |= {
            "name": message.task,
            "args": list(message.args),
            "kwargs": dict(message.kwargs),
            "worker": context.worker,
            "retries": message.retries,
            "queue": context.queue,
        }
    if context.started_at is not None:
        after[STARTED_AT] = _iso(context.started_at)
    after["task_id"] = message.id
    try:
        rest = serializers.dumps(after)
    except errors.EncodeError:
        # Arguments that came pickled: they are shown as their sender described them.
        rest = serializers.dumps({**after, "args": message.argsrepr, "kwargs": message.kwargsrepr})
    return f'{{"status":{serializers.dumps(state)},"result":{result},{rest[1:]}'


def encode_error(error: ErrorInfo) -> str:
    """An error as the ``result`` of a document: JSON text."""
    return serializers.dumps(
        {"exc_type": error.exc_type, "exc_message": list(error.exc_message), "exc_module": error.exc_module}
    )


def decode(payload: str) -> dict[str, Any]:
    """Read a document.

    Raises:
        DecodeError: it is none.
    """
    document = serializers.loads(payload)
    if not isinstance(document, dict) or "status" not in document:
        raise errors.DecodeError(f"this is no result document: {payload[:200]!r}")
    return document


def child_ids(document: Mapping[str, Any]) -> Iterator[str]:
    """The ids of the tasks that follow, from Celery's ``[[id, parent], children]`` tuples."""
    for child in document.get("children") or ():
        match child:
            case [[str() as child_id, *_], *_]:
                yield child_id


def error_of(document: Mapping[str, Any]) -> ErrorInfo | None:
    """The error that a document of a failure holds, as it was given to ``encode_error``; None where there is none."""
    match document.get("result"):
        case {"exc_type": str(kind), "exc_message": [*message], **rest} if document["status"] in EXCEPTION_STATES:
            return ErrorInfo(kind, message, str(rest.get("exc_module") or "builtins"), document.get("traceback"))
    return None


def exception_of(result: Any) -> Exception:
    """The exception that a document's ``result`` describes.

    Its class is looked up among the modules already imported, never imported; what is not found, or is no exception,
    becomes a ``RemoteError`` with its name, so that a stored document can't make a reader call anything.
    """
    if not isinstance(result, dict) or "exc_type" not in result:
        return errors.RemoteError(result)
    name, module = str(result["exc_type"]), str(result.get("exc_module") or "builtins")
    arguments = result.get("exc_message", ())
    arguments = tuple(arguments) if isinstance(arguments, list | tuple) else (arguments,)
    found: Any = errors if module in _CELERY_MODULES else sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    # Not SystemExit and its like: a stored document is not to end its reader's process or cancel its coroutine.
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(*arguments)
        except Exception:  # noqa: BLE001 - whatever a class does with arguments that are not what it expects
            return errors.RemoteError(*arguments, exc_type=name, exc_module=module)
    return errors.RemoteError(*arguments, exc_type=name, exc_module=module)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
