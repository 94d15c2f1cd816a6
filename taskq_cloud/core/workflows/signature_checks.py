"""Checks of the signatures in a message, before its task is run: all that may be made of them later can be made.

A task carries the whole rest of its chain and the body of its chord, and most of that is read only once the task has
ended. An error would then come too late: the task has run, and its message would come back. So every signature is
checked with its options, and with all signatures inside it, however deep they are. No workflow is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from taskq_cloud.core.model import validation as values
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.task_names import CHAIN, CHORD, CHUNKS, GROUP
from taskq_cloud.core.workflows.chord_members import Membership, is_sized
from taskq_cloud.core.workflows.signatures import checked_options
from taskq_cloud.core.workflows.stages import as_list
from taskq_cloud.errors import InvalidTaskError

_CONTENTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterable[Any]]]] = {
    CHAIN: lambda kwargs: _listed(kwargs["tasks"]),
    GROUP: lambda kwargs: _listed(kwargs["tasks"]),
    CHORD: lambda kwargs: [*as_list(kwargs["header"]), kwargs["body"]],
    CHUNKS: lambda kwargs: [kwargs["task"]],
}
"""The signatures inside a composed one."""
_LINKED: Final = ("link", "link_error", "chain", "chord")


def check(found: Iterable[Any]) -> None:
    """Check signatures, and all signatures inside them.

    Args:
        found: the signatures.

    Raises:
        InvalidTaskError: one of them isn't a signature; quotes it.
        TypeError, ValueError, LookupError, ArithmeticError: an option of one has the wrong type or value.
    """
    left = list(found)
    while left:
        signature = left.pop()
        match signature:
            case {"task": str(task)} if task:
                left += _inside(task, signature)
            case _:
                raise InvalidTaskError(f"this isn't a signature: {signature!r:.200}")


def _inside(task: str, signature: Signature) -> list[Any]:
    """Check one signature by itself; returns the signatures inside it."""
    values.identifier("the task's name", task)
    args, kwargs, options = signature.get("args"), signature.get("kwargs"), signature.get("options")
    if args and not isinstance(args, list | tuple):
        raise TypeError(f"args of {task} isn't a list: {args!r:.100}")
    if kwargs:
        values.mapping(kwargs, f"kwargs of {task}")
    inside = list(_CONTENTS[task](kwargs or {})) if task in _CONTENTS else []
    if options:
        values.mapping(options, f"options of {task}")
        inside += _inside_options(task, signature)
    return inside


def _inside_options(task: str, signature: Signature) -> list[Any]:
    """Check the options of a signature; returns the signatures inside them."""
    options = checked_options(signature)
    inside = [each for name in _LINKED if options.get(name) for each in as_list(options[name])]
    chord = options.get("chord")
    if chord and is_sized(chord):
        Membership.read(options.get("group_id"), options.get("group_index"), chord, options.get("task_id"))
    for name in options.get("stamped_headers") or ():
        if name not in options:
            raise LookupError(f"the stamp {name!r:.100} of {task} has no value")
    return inside


def _listed(value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"this isn't a list: {value!r:.100}")
    return value
