"""The payload of a record: Celery's result document as JSON, key for key, so that Celery's readers can read it.

Source: Celery 5.7, ``celery.backends.base.Backend._get_result_meta``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud import errors
from taskq_cloud.core import serializers
from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.option_values import aware
from taskq_cloud.core.model.outcome import DEEPEST_GROUP, MOST_MEMBERS, ErrorInfo
from taskq_cloud.core.records.record import EXCEPTION_STATES, MOST_CHILDREN, READY_STATES, Record
from taskq_cloud.core.serializers.compression import LARGEST_EXPANDED_BYTES, MEMORY_PER_BYTE, check_json

STARTED_AT: Final = "date_started"
"""A key that Celery's documents don't have, next to its ``date_done``."""

EXCEPTION: Final = "exception"
"""A key that Celery's documents don't have: what Celery's form of an exception, under ``result``, leaves out."""

_SURELY_SMALL: Final = 1024 * 1024
"""Shorter texts than this many characters can't hold too many values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """The parts of a document that only the run of a task knows.

    Args:
        worker: the name of the worker that ran the task.
        queue: the queue that the task was received from.
        extended: whether to write the keys of ``result_extended``: name, arguments, worker, retries and queue.
        started_at: when the run began, in seconds since the epoch; None: not written.
        added: the signatures that the task has added to its chord.
        added_signature: their seal; None: the application doesn't sign.
    """

    worker: str | None = None
    queue: str | None = None
    extended: bool = False
    started_at: float | None = None
    added: Sequence[Signature] = ()
    added_signature: str | None = None


def encode(
    message: Message,
    state: str,
    result: str | ErrorInfo,
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
        result: the task's value or progress as JSON text, which goes into the document as it is; or its error.
        now: the time, in seconds since the epoch.
        traceback: the formatted traceback; None: that of the error, if there is one.
        children: ids of the tasks that follow from this one.
        run: the parts that only the run of the task knows.
    """
    error, text = (result, encode_error(result)) if isinstance(result, ErrorInfo) else (None, result)
    after: dict[str, Any] = {
        "traceback": traceback if error is None else traceback or error.traceback,
        "children": [[[child, None], None] for child in children],
        "date_done": _iso(now) if state in READY_STATES else None,
    }
    ids = {"group_id": message.group, "parent_id": message.parent_id, "call": message.call}
    after |= {name: value for name, value in ids.items() if value}
    if error is not None and (details := _details(error)):
        after[EXCEPTION] = details
    if run.added:
        after["added"] = list(run.added)
        if run.added_signature is not None:
            after["added_signature"] = run.added_signature
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
    return f'{{"status":{serializers.dumps(state)},"result":{text},{rest[1:]}'


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
    return serializers.dumps(_celery_form(error))


def _celery_form(error: ErrorInfo) -> dict[str, Any]:
    return {"exc_type": error.exc_type, "exc_message": list(error.exc_message), "exc_module": error.exc_module}


def _details(error: ErrorInfo) -> dict[str, Any]:
    details: dict[str, Any] = {} if error.text is None else {"text": error.text}
    for name, value in (("notes", error.notes), ("bases", error.bases)):
        if value:
            details[name] = list(value)
    if error.members:
        details["members"] = [[_celery_form(member), _details(member)] for member in error.members]
    return details


def decode(payload: str) -> dict[str, Any]:
    """Read a result document.

    Raises:
        DecodeError: the payload isn't a result document.
    """
    if len(payload) > _SURELY_SMALL:
        try:
            check_json(payload.encode(errors="surrogatepass"), LARGEST_EXPANDED_BYTES)
        except errors.DecodeError:
            raise errors.DecodeError(
                f"the payload of the record, {payload[:80]!r}..., holds so many lists, objects and values that they "
                f"would take more than {MEMORY_PER_BYTE * LARGEST_EXPANDED_BYTES:,} bytes of memory: let the task "
                "write them to an object of its own, and return the object's place"
            ) from None
    document = serializers.loads(payload)
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        raise errors.DecodeError(f"the payload of the record isn't a result document: {payload[:200]!r}")
    return document


def of(record: Record) -> Mapping[str, Any]:
    """The result document of a record: the one that was read off the event loop, or read now.

    Raises:
        DecodeError: the payload isn't a result document.
    """
    return decode(record.payload) if record.document is None else record.document


def date_done(document: Mapping[str, Any]) -> datetime | None:
    """When a task ended, by its document; None if it doesn't say, or not in ISO 8601."""
    return time_in(document, "date_done")


def time_in(document: Mapping[str, Any], key: str) -> datetime | None:
    """The time under a key of a document, which may be anyone's; None if it isn't one."""
    value: Any = document.get(key)
    try:
        return aware(value if isinstance(value, datetime) else datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return None


def nesting(document: Mapping[str, Any]) -> int:
    """How often the ended task had been replaced, by its document; 0 if the document doesn't say."""
    value = document.get("replaced_task_nesting")
    return value if isinstance(value, int) else 0


def child_ids(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of a document's children, which Celery writes as ``[[id, parent], children]`` tuples."""
    children = document.get("children")
    for child in children[:MOST_CHILDREN] if isinstance(children, list) else ():
        match child:
            case [[str() as child_id, *_], *_]:
                yield child_id


def error_of(document: Mapping[str, Any]) -> ErrorInfo | None:
    """Read the error of a failed task from its document, as ``encode`` was given it; None if there is none."""
    if document["status"] not in EXCEPTION_STATES:
        return None
    error = _described(document.get("result"), document.get(EXCEPTION))
    return None if error is None else replace(error, traceback=document.get("traceback"))


def exception_in(document: Mapping[str, Any]) -> Exception:
    """Make the exception that a document describes: see ``exceptions.rebuild``."""
    return exception_of(document.get("result"), document.get(EXCEPTION))


def exception_of(result: Any, details: Any = None) -> Exception:
    """Make the exception that the ``result`` of a document describes.

    Args:
        result: the ``result``.
        details: what the document has under ``EXCEPTION``.
    """
    from taskq_cloud.core.records import exceptions  # most tasks succeed

    error = _described(result, details)
    return errors.RemoteError(result) if error is None else exceptions.rebuild(error)


def _described(result: Any, details: Any, depth: int = 1) -> ErrorInfo | None:
    if not isinstance(result, dict) or "exc_type" not in result:
        return None
    message, more = result.get("exc_message", ()), details if isinstance(details, dict) else {}
    listed = _listed(more, "members")[:MOST_MEMBERS] if depth <= DEEPEST_GROUP else ()
    members = [_described(form, rest, depth + 1) for form, rest in filter(_is_pair, listed)]
    return ErrorInfo(
        str(result["exc_type"]),
        message if isinstance(message, list | tuple) else (message,),
        str(result.get("exc_module") or "builtins"),
        text=text if isinstance(text := more.get("text"), str) else None,
        notes=[note for note in _listed(more, "notes") if isinstance(note, str)],
        bases=[(str(base[0]), str(base[1])) for base in _listed(more, "bases") if _is_pair(base)],
        members=[member for member in members if member is not None],
    )


def _listed(details: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = details.get(key)
    return value if isinstance(value, list) else ()


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2  # noqa: PLR2004


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
