"""Makes workflows of names, of plain JSON and of many arguments; ``chain``, ``group`` and ``chord`` are the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from taskq_cloud.canvas.group import Group
from taskq_cloud.canvas.task_call import Call, read_call
from taskq_cloud.canvas.workflow import invalid, node_of, read, reads
from taskq_cloud.core.workflows import signatures
from taskq_cloud.core.workflows.signatures import CHUNKS
from taskq_cloud.runtime.protocols import Application


def signature(
    task: Any,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    immutable: bool = False,
    app: Application | None = None,
    **more: Any,
) -> Any:
    """A workflow of a task's name, of a task, of a workflow, or of the plain JSON that ``to_dict`` has written.

    Args:
        task: one of these.
        args: put before its arguments.
        kwargs: likewise.
        options: as for ``set``.
        immutable: see ``Call``.
        app: the application, where the workflow knows none.
        more: options by name; they win.

    Raises:
        InvalidTaskError: the JSON is no signature.
        TypeError: it is none of these, or an option is unknown.
    """
    node = Call(task, app=app) if isinstance(task, str) else node_of(task, "signature()", app)
    node = node.clone(args, kwargs, **{**(options or {}), **more})
    return node.set(immutable=True) if immutable else node


subtask = signature


def maybe_signature(d: Any, app: Application | None = None, clone: bool = False) -> Any:  # noqa: ARG001 - a node never changes
    """A workflow, or the plain JSON of one, as a workflow; None is None."""
    return None if d is None else node_of(d, "maybe_signature()", app)


def chunks(task: Any, it: Iterable[Any], n: int) -> Group:
    """Call a task for each of many tuples of arguments, ``n`` of them in one message."""
    if n < 1:
        raise ValueError(f"chunks of {n}: it takes at least one")
    called, items = node_of(task, "chunks()"), [list(each) for each in it]
    return Group(mapped(called, items[begin : begin + n], star=True) for begin in range(0, len(items), n))


def xmap(task: Any, it: Iterable[Any]) -> Call:
    """One message that calls a task for each of many arguments, one after the other."""
    return mapped(node_of(task, "xmap()"), it, star=False)


def xstarmap(task: Any, it: Iterable[Any]) -> Call:
    """``xmap`` over tuples of arguments."""
    return mapped(node_of(task, "xstarmap()"), it, star=True)


def mapped(task: Call, it: Iterable[Any], *, star: bool) -> Call:
    """What ``xmap`` and ``xstarmap`` make of a signature."""
    name = signatures.STARMAP if star else signatures.MAP
    items = [list(each) for each in it] if star else list(it)
    return read_call(signatures.starmap(task.to_dict(), items, name=name), task.app)


@reads(CHUNKS)
def _read_chunks(value: Mapping[str, Any], app: Application | None) -> Group:
    match value:
        case {"kwargs": {"task": {} as task, "it": [*items], "n": int(n)}}:
            return chunks(read(task, app), items, n)
    raise invalid(value)
