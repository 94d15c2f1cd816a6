"""A workflow as a value: how it is made, copied, pickled, and read as a dict, which Celery's signatures are.

A workflow doesn't change: a method such as ``sig.link(callback)`` returns a new one. Celery's signatures change in
place, so code that was written for them ignores the return value and goes on with ``sig``. A warning tells the author
that the callback is lost there.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, KeysView, Mapping
from copy import deepcopy
from dataclasses import Field, fields
from opcode import opmap, opname
from types import FrameType, MappingProxyType
from typing import Any, ClassVar, Final, Protocol, TypeVar

from taskq_cloud.core.model.message import Options
from taskq_cloud.core.serializers import PlainForm


class Node(Protocol):
    """A workflow, as far as copying is concerned: a frozen dataclass that may know its application."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def app(self) -> object:
        """The application, or None."""
        ...


N = TypeVar("N", bound=Node)

_POP_TOP: Final = opmap["POP_TOP"]
_CACHE: Final = opmap["CACHE"]


def made(kind: type[N], **values: object) -> N:
    """Make a node from the values of its fields, without the constructor that reads a user's arguments."""
    node = object.__new__(kind)
    fill(node, **values)
    return node


def fill(node: Node, **values: object) -> None:
    """Set the fields of a node that is being made; ``app`` is None unless it is given.

    Mappings are copied and made read-only, so a caller who changes a dict afterwards doesn't change the node.
    """
    for name, value in {"app": None, "_new": False, **values}.items():
        object.__setattr__(node, name, MappingProxyType(dict(value)) if isinstance(value, Mapping) else value)


def altered(node: N, **values: object) -> N:
    """Make a copy of a node in which some fields have other values."""
    return made(type(node), **{**values_of(node), "app": node.app, **values, "_new": True})


def deeply(node: N, memo: dict[int, Any]) -> N:
    """Make a copy of a node with copies of its arguments; the application is not copied."""
    return made(type(node), app=node.app, **{name: deepcopy(_plain(value), memo) for name, value in _parts(node)})


def pickled(node: Node) -> tuple[object, ...]:
    """Give the value of ``__reduce__`` for a node: without its application, which holds connections and locks."""
    return unpickled, (type(node), {name: _plain(value) for name, value in _parts(node)})


def unpickled(kind: type[N], values: Mapping[str, object]) -> N:
    """Make a node from its pickle; it has no application until ``signature(node, app=app)`` gives it one."""
    return made(kind, **values)


def _parts(node: Node) -> Iterable[tuple[str, object]]:
    return values_of(node).items()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, MappingProxyType) else value


def values_of(node: Node) -> dict[str, object]:
    """Give the values of a node's fields by name, without its application."""
    return {each.name: getattr(node, each.name) for each in fields(node) if each.compare}


def mark_new(node: Node, *, new: bool) -> None:
    """Record whether a node was made by a change and not used since."""
    object.__setattr__(node, "_new", new)


def warn_if_thrown_away(frame: FrameType | None) -> None:
    """Warn if a statement has dropped a new node, as ``sig.link(callback)`` on a line of its own does.

    A node that ends with its variable, its list or its process gets no warning: it may have been looked at, compared
    or kept for later. The bytecode instruction tells these cases from a dropped value.

    Args:
        frame: the frame in which the node has ended.
    """
    if frame is not None and _drops_a_calls_value(frame):
        warnings.warn(
            "signatures don't change: link(), set(), stamp() and the like return a new signature, and it was thrown "
            "away here. Write sig = sig.link(callback)",
            RuntimeWarning,
            stacklevel=3,
        )


def _drops_a_calls_value(frame: FrameType) -> bool:
    """Whether a frame's current instruction ends a statement that consists of a call alone."""
    code, at = frame.f_code.co_code, frame.f_lasti
    if code[at] != _POP_TOP:
        return False
    # An exception that a "with" suppresses is dropped by the same instruction, with everything its traceback holds.
    before = next((op for op in code[at - 2 :: -2] if op != _CACHE), _CACHE)
    return opname[before].startswith("CALL")


def caller_of_finalizer() -> FrameType | None:
    """Find the frame in which the calling ``__del__`` was run; None if there is none, as when a process ends."""
    finalizer = sys._getframe().f_back  # noqa: SLF001 - Python has no public way to a frame
    return None if finalizer is None else finalizer.f_back


class ReadAsDict(PlainForm):
    """Read access to a workflow by the keys of Celery's signature: ``sig["task"]``, ``dict(sig)``, ``sig.get("args")``.

    Workflows among the parts stay workflows. A dict's methods that change it are missing, and ``sig["args"] = ...`` is
    a ``TypeError``.
    """

    __slots__ = ()

    @property
    def parts(self) -> Mapping[str, Any]:
        """The parts: ``task``, ``args``, ``kwargs``, ``options``, ``subtask_type`` and ``immutable``."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __contains__(self, name: object) -> bool:
        return name in self.parts

    def keys(self) -> KeysView[str]:
        """The names of the parts."""
        return self.parts.keys()

    def get(self, name: str, default: Any = None) -> Any:
        """The part of that name, or ``default`` if there is none."""
        return self.parts.get(name, default)

    @property
    def subtask_type(self) -> str | None:
        """The kind of workflow: ``"chain"``, ``"group"`` or ``"chord"``; None for a single task."""
        kind: str | None = self.parts["subtask_type"]
        return kind

    @property
    def name(self) -> str:
        """The task's name; for a workflow of several tasks Celery's name for its kind, such as ``"celery.chain"``."""
        return str(self.parts["task"])


def parts_of(task: str, kind: str, options: Options | None = None, **kwargs: object) -> Mapping[str, Any]:
    """Make the parts of a workflow of several tasks.

    Args:
        task: Celery's name for the kind of workflow: ``"celery.chain"``.
        kind: its ``subtask_type``: ``"chain"``.
        options: the options of the workflow as a whole.
        kwargs: the workflows that it is made of, by Celery's names.
    """
    return {
        "task": task,
        "args": (),
        "kwargs": kwargs,
        "options": options or {},
        "subtask_type": kind,
        "immutable": False,
    }
