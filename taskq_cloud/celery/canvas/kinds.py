"""The classes of signatures by kind, for the modules of this package: each class has to know the others.

``chain | group`` is decided in the class of chains, and ``group | chain`` in the class of groups. Modules that imported
each other for that would form a circle, so each module puts its class here, and looks for the others here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

CLASSES: Final[dict[str, Any]] = {}
"""Kind -> class: ``chain``, ``group`` and ``chord``."""


def is_chain(value: object) -> bool:
    """Whether a value is a chain."""
    return isinstance(value, CLASSES["chain"])


def is_group(value: object) -> bool:
    """Whether a value is a group."""
    return isinstance(value, CLASSES["group"])


def is_chord(value: object) -> bool:
    """Whether a value is a chord."""
    return isinstance(value, CLASSES["chord"])


def is_foreign(value: object) -> bool:
    """Whether a value is a signature of another package's classes, such as Celery's own."""
    return isinstance(value, dict) and hasattr(value, "subtask_type") and not isinstance(value, CLASSES["signature"])


def is_empty_group(value: Any) -> bool:
    """Whether a value is a group that has no member; a generator of members is not read for that."""
    return is_group(value) and isinstance(value.tasks, list | tuple) and not value.tasks


def is_empty_chain(value: Any) -> bool:
    """Whether a value is a chain without a task."""
    return is_chain(value) and not value.tasks


def is_led_by_task(body: Any) -> bool:
    """Whether the body of a chord is a chain that begins with something other than a group."""
    return is_chain(body) and bool(body.tasks) and not is_group(body.tasks[0])


def make(kind: str, *args: Any, **options: Any) -> Any:
    """Make a chain, a group or a chord."""
    return CLASSES[kind](*args, **options)


def ids_of(sigs: Iterable[Any]) -> Iterator[Any]:
    """Yield the ids of the tasks in frozen signatures."""
    for sig in sigs:
        if is_chord(sig):
            yield from ids_of([*getattr(sig.tasks, "tasks", sig.tasks), sig.body])
        elif is_group(sig) or is_chain(sig):
            yield from ids_of(sig.tasks)
        elif sig is not None:
            yield sig.id


def own_app(sig: Any) -> Any:
    """The application that a signature was given; None if it was given none."""
    return sig._app


def set_own_app(sig: Any, app: Any) -> None:
    """Give a signature its application."""
    sig._app = app


def task_name_from(task: Any) -> Any:
    """The name of a task, or the name itself."""
    return getattr(task, "name", task)
