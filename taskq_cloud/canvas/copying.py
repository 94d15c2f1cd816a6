"""How a node is made and changed: into a new one. One made by a change and thrown away at once is warned of.

Celery's signatures change in place, so code that was written for them calls ``sig.link(callback)`` and goes on with
``sig``. Here that would do nothing, and nobody would hear of it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import fields
from opcode import opmap, opname
from types import FrameType, MappingProxyType
from typing import Any, ClassVar, Final, Protocol, TypeVar


class Node(Protocol):
    """A part of a workflow, as far as it is copied: a frozen dataclass that may know its application."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def app(self) -> Any:
        """The application, or None."""
        ...


N = TypeVar("N", bound=Node)

_POP_TOP: Final = opmap["POP_TOP"]
_CACHE: Final = opmap["CACHE"]


def made(kind: type[N], **values: Any) -> N:
    """A node of its values: what its class makes of a user's arguments is left out."""
    node = object.__new__(kind)
    fill(node, **values)
    return node


def fill(node: Node, **values: Any) -> None:
    """Give a node that has none yet its values; ``app`` is None where it isn't among them.

    Mappings are copied, and can't be written to: what their giver does with his own is nothing to the node.
    """
    for name, value in {"app": None, "_new": False, **values}.items():
        object.__setattr__(node, name, MappingProxyType(dict(value)) if isinstance(value, Mapping) else value)


def altered(node: N, **values: Any) -> N:
    """The same node with other values."""
    return made(type(node), **{**values_of(node), "app": node.app, **values, "_new": True})


def deeply(node: N, memo: dict[int, Any]) -> N:
    """A copy whose arguments are copies too; the application is the same one."""
    return made(type(node), app=node.app, **{name: deepcopy(_plain(value), memo) for name, value in _parts(node)})


def pickled(node: Node) -> tuple[Any, ...]:
    """What a node is pickled as: without its application, which holds connections and locks."""
    return unpickled, (type(node), {name: _plain(value) for name, value in _parts(node)})


def unpickled(kind: type[N], values: Mapping[str, Any]) -> N:
    """The node again; it belongs to no application until ``signature(node, app=app)`` gives it one."""
    return made(kind, **values)


def _parts(node: Node) -> Iterable[tuple[str, Any]]:
    return values_of(node).items()


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, MappingProxyType) else value


def values_of(node: Node) -> dict[str, Any]:
    """A node's values, without its application."""
    return {each.name: getattr(node, each.name) for each in fields(node) if each.compare}


def mark_new(node: Node, *, new: bool) -> None:
    """Say whether a node was made by a change and not used since."""
    object.__setattr__(node, "_new", new)


def warn_if_thrown_away(frame: FrameType | None) -> None:
    """Warn where a statement has dropped a new node, as ``sig.link(callback)`` on a line of its own does.

    A node that ends otherwise, with its variable, its list or its process, is none of our business: it may have been
    looked at, compared or kept for later. The instruction tells the two apart.

    Args:
        frame: where the node has ended.
    """
    if frame is not None and _drops_a_calls_value(frame):
        warnings.warn(
            "a signature doesn't change: what link(), set(), stamp() and the like return is the new one, and it was "
            "thrown away here. Write sig = sig.link(callback)",
            RuntimeWarning,
            stacklevel=3,
        )


def _drops_a_calls_value(frame: FrameType) -> bool:
    """Whether a frame's instruction is the one that ends a statement which is nothing but a call."""
    code, at = frame.f_code.co_code, frame.f_lasti
    if code[at] != _POP_TOP:
        return False
    # What a "with" has suppressed is dropped by the same instruction, with all that its traceback holds.
    before = next((op for op in code[at - 2 :: -2] if op != _CACHE), _CACHE)
    return opname[before].startswith("CALL")


def caller_of_finalizer() -> FrameType | None:
    """The frame in which a finalizer that calls this was called; None where there is none, as when a process ends."""
    finalizer = sys._getframe().f_back  # noqa: SLF001 - the one way to a frame
    return None if finalizer is None else finalizer.f_back
