"""Annotations: the setting ``task_annotations``, which changes attributes of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ("MapAnnotation", "prepare", "resolve_all")


class MapAnnotation(dict[str, Any]):
    """Annotations as a mapping from the names of tasks, or ``"*"``, to attributes."""

    def annotate_any(self) -> dict[str, Any] | None:
        """The attributes of every task; None without any."""
        return dict(self["*"]) if "*" in self else None

    def annotate(self, task: Any) -> dict[str, Any] | None:
        """The attributes of one task; None without any."""
        return dict(self[task.name]) if task.name in self else None


def prepare(annotations: Any) -> Sequence[Any]:
    """Make annotations of the setting: a mapping, an object with ``annotate``, or a list of them or of their paths."""
    if annotations is None:
        return ()
    listed = annotations if isinstance(annotations, list | tuple) else (annotations,)
    return [_annotation(each) for each in listed]


def _annotation(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MapAnnotation(value)
    if isinstance(value, str):
        from taskq_cloud.celery.utils.imports import instantiate  # few applications name a class

        return instantiate(value)
    return value


def resolve_all(anno: Iterable[Any], task: Any) -> Iterator[dict[str, Any]]:
    """The attributes that annotations have for a task: for each annotation its own, then those of every task."""
    for annotation in anno:
        for found in (annotation.annotate(task), annotation.annotate_any()):
            if found:
                yield found
