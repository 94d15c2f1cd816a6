"""Functions that make workflows of names, of plain JSON or of many arguments: ``signature``, ``chunks``, ``xmap``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack, overload

from taskq_cloud.calling.options import CallKeywords
from taskq_cloud.canvas.group import Group
from taskq_cloud.canvas.task_call import Call, read_call
from taskq_cloud.canvas.workflow import SignatureLike, W, Workflow, invalid, node_of, read, reads
from taskq_cloud.core.model import task_names
from taskq_cloud.core.model.message import Args, Kwargs, Options, Signature
from taskq_cloud.core.model.task_names import CHUNKS
from taskq_cloud.core.workflows import signatures
from taskq_cloud.runtime.protocols import Application


@overload
def signature(
    task: str,
    args: Args | None = None,
    kwargs: Kwargs | None = None,
    options: Options | None = None,
    *,
    immutable: bool = False,
    app: Application | None = None,
    **more: Unpack[CallKeywords],
) -> Call: ...


@overload
def signature(
    task: W,
    args: Args | None = None,
    kwargs: Kwargs | None = None,
    options: Options | None = None,
    *,
    immutable: bool = False,
    app: Application | None = None,
    **more: Unpack[CallKeywords],
) -> W: ...


@overload
def signature(
    task: SignatureLike,
    args: Args | None = None,
    kwargs: Kwargs | None = None,
    options: Options | None = None,
    *,
    immutable: bool = False,
    app: Application | None = None,
    **more: Unpack[CallKeywords],
) -> Workflow: ...


def signature(
    task: str | SignatureLike,
    args: Args | None = None,
    kwargs: Kwargs | None = None,
    options: Options | None = None,
    *,
    immutable: bool = False,
    app: Application | None = None,
    **more: Unpack[CallKeywords],
) -> Workflow:
    """Make a workflow of a task's name, of a task, of a workflow, or of the plain JSON that ``to_dict`` writes.

    Args:
        task: the name, the task, the workflow or the JSON.
        args: positional arguments, put before the ones that the workflow has.
        kwargs: keyword arguments, added to the ones that the workflow has; of equal names, these win.
        options: as for ``set``.
        immutable: the task takes no value from the task before it.
        app: the application, for a workflow that has none.
        more: further options by name; they win over ``options``.

    Raises:
        InvalidTaskError: the JSON isn't a signature.
        TypeError: ``task`` can't stand for a workflow, or an option is unknown.
    """
    node: Workflow = Call(task, app=app) if isinstance(task, str) else node_of(task, "signature()", app)
    node = node.filled(args, kwargs, {**(options or {}), **more})
    return node.set(immutable=True) if immutable else node


subtask = signature


@overload
def maybe_signature(d: None, app: Application | None = None, clone: bool = False) -> None: ...


@overload
def maybe_signature(d: W, app: Application | None = None, clone: bool = False) -> W: ...


@overload
def maybe_signature(d: SignatureLike, app: Application | None = None, clone: bool = False) -> Workflow: ...


def maybe_signature(d: SignatureLike | None, app: Application | None = None, clone: bool = False) -> Workflow | None:  # noqa: ARG001 - Celery's
    """Make a workflow of a workflow or of plain JSON; None stays None.

    Args:
        d: the workflow, its JSON, or None.
        app: the application, for a workflow that has none.
        clone: has no effect, since a workflow doesn't change.
    """
    return None if d is None else node_of(d, "maybe_signature()", app)


def chunks(task: SignatureLike, it: Iterable[Iterable[object]], n: int) -> Group:
    """Make a group of messages that each call a task for several tuples of arguments.

    Args:
        task: the task.
        it: the tuples.
        n: the number of tuples in one message, at least 1.

    Raises:
        ValueError: ``n`` is too small.
    """
    if n < 1:
        raise ValueError(f"chunks of {n} items can't be sent: a message takes at least one")
    called, items = node_of(task, "chunks()"), [list(each) for each in it]
    return Group(mapped(called, items[begin : begin + n], star=True) for begin in range(0, len(items), n))


def xmap(task: SignatureLike, it: Iterable[object]) -> Call:
    """Make one message that calls a task for each of many arguments, one after the other."""
    return mapped(node_of(task, "xmap()"), it, star=False)


def xstarmap(task: SignatureLike, it: Iterable[Iterable[object]]) -> Call:
    """Make one message that calls a task for each of many tuples of arguments, one after the other."""
    return mapped(node_of(task, "xstarmap()"), it, star=True)


def mapped(task: Workflow, it: Iterable[Any], *, star: bool) -> Call:
    """Make the call of ``xmap``, or with ``star`` of ``xstarmap``."""
    name = task_names.STARMAP if star else task_names.MAP
    items = [list(each) for each in it] if star else list(it)
    if isinstance(task, Call):
        items = task.plain_items(items, star=star)
    return read_call(signatures.starmap(task.to_dict(), items, name=name), task.app)


@reads(CHUNKS)
def _read_chunks(value: Signature, app: Application | None) -> Group:
    match value:
        case {"kwargs": {"task": {} as task, "it": [*items], "n": int(n)}}:
            return chunks(read(task, app), items, n)
    raise invalid(value)
