"""Signatures that call one task for many arguments: ``xmap``, ``xstarmap`` and ``chunks``."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, ClassVar

from taskq_cloud.celery.canvas import kinds
from taskq_cloud.celery.canvas.signatures import Signature
from taskq_cloud.celery.utils.functional import chunks as pieces_of
from taskq_cloud.celery.utils.functional import regen
from taskq_cloud.celery.utils.text import truncate


class _basemap(Signature):
    """One message that calls a task for each of many arguments, one call after the other.

    Args:
        task: the signature of the task.
        it: the arguments.
        options: as for ``Signature``.
    """

    _task_name: ClassVar[str | None] = None
    _unpack_args: ClassVar[Any] = itemgetter("task", "it")
    _call_shown: ClassVar[str] = ""

    @classmethod
    def from_dict(cls, d: dict[str, Any], app: Any = None) -> Any:
        """Make the signature of its dict."""
        return cls(*cls._unpack_args(d["kwargs"]), app=app, **d["options"])

    def __init__(self, task: Any, it: Any, **options: Any) -> None:
        super().__init__(self._task_name, (), {"task": task, "it": regen(it)}, immutable=True, **options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Any:  # type: ignore[override]
        """Send the message; the arguments that are given here have no effect."""
        given = {name: value for name, value in opts.items() if value is not None}
        _, _, options = self._merge(options=given)
        route_name = options.pop("route_name", None) or kinds.task_name_from(self.kwargs.get("task"))
        task, it = self._unpack_args(self.kwargs)
        return self.type.apply_async((), {"task": task, "it": list(it)}, route_name=route_name, **options)

    def __repr__(self) -> str:
        task, it = self._unpack_args(self.kwargs)
        return f"[{task.task}({self._call_shown}) for x in {truncate(repr(it), 100)}]"


@Signature.register_type()
class xmap(_basemap):
    """One message that calls a task for each of many values."""

    _task_name = "celery.map"
    _call_shown = "x"


@Signature.register_type()
class xstarmap(_basemap):
    """One message that calls a task for each of many tuples of arguments."""

    _task_name = "celery.starmap"
    _call_shown = "*x"


@Signature.register_type()
class chunks(Signature):
    """A group of messages that each call a task for several tuples of arguments.

    Args:
        task: the signature of the task.
        it: the tuples.
        n: the number of tuples in a message.
        options: as for ``Signature``.
    """

    _unpack_args: ClassVar[Any] = itemgetter("task", "it", "n")

    @classmethod
    def from_dict(cls, d: dict[str, Any], app: Any = None) -> Any:
        """Make the signature of its dict."""
        return cls(*cls._unpack_args(d["kwargs"]), app=app, **d["options"])

    def __init__(self, task: Any, it: Any, n: int, **options: Any) -> None:
        super().__init__("celery.chunks", (), {"task": task, "it": regen(it), "n": n}, immutable=True, **options)

    def __call__(self, **options: Any) -> Any:
        """Send the messages: see ``apply_async``."""
        return self.apply_async(**options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Any:  # type: ignore[override]
        """Send the messages as a group."""
        route_name = kinds.task_name_from(self.kwargs.get("task"))
        return self.group().apply_async(args or (), kwargs or {}, route_name=route_name, **opts)

    def group(self) -> Any:
        """Make the group of messages."""
        task, it, n = self._unpack_args(self.kwargs)
        pieces = (xstarmap(task, piece, app=self._app) for piece in pieces_of(iter(it), n))
        return kinds.make("group", pieces, app=self._app)

    @classmethod
    def apply_chunks(cls, task: Any, it: Any, n: int, app: Any = None) -> Any:
        """Make the signature, and send its messages."""
        return cls(task, it, n, app=app)()
