"""Reading a workflow as Celery's signature, which is a dict: ``sig["task"]``, ``dict(sig)``, ``sig.get("args")``.

It is read only: what would change it in place is not there, and ``sig["args"] = ...`` is a ``TypeError``.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from typing import Any

from taskq_cloud.core.serializers import PlainForm


class ReadAsDict(PlainForm):
    """A node's parts by the names of Celery's signature; where there are workflows in them, as nodes."""

    __slots__ = ()

    @property
    def parts(self) -> Mapping[str, Any]:
        """``task``, ``args``, ``kwargs``, ``options``, ``subtask_type``, ``immutable``."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __contains__(self, name: object) -> bool:
        return name in self.parts

    def keys(self) -> KeysView[str]:
        """The names of its parts."""
        return self.parts.keys()

    def get(self, name: str, default: Any = None) -> Any:
        """A part; ``default`` where there is none of that name."""
        return self.parts.get(name, default)

    @property
    def subtask_type(self) -> str | None:
        """``"chain"``, ``"group"`` or ``"chord"``; None of one task."""
        kind: str | None = self.parts["subtask_type"]
        return kind

    @property
    def name(self) -> str:
        """The task's name; of several tasks the name that Celery has for what they are, ``"celery.chain"`` for one."""
        return str(self.parts["task"])


def parts_of(task: str, kind: str, options: Mapping[str, Any] | None = None, **kwargs: Any) -> Mapping[str, Any]:
    """The parts of what is made of several tasks.

    Args:
        task: the name that Celery has for it.
        kind: its ``subtask_type``.
        options: its own.
        kwargs: what it is made of.
    """
    return {
        "task": task,
        "args": (),
        "kwargs": kwargs,
        "options": options or {},
        "subtask_type": kind,
        "immutable": False,
    }
