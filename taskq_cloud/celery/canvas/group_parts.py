"""The tasks of a group, its text and its application (``GroupParts``)."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.canvas.building import maybe_signature
from taskq_cloud.celery.canvas.signatures import Signature
from taskq_cloud.celery.utils.objects import getitem_property
from taskq_cloud.celery.utils.text import remove_repeating_from_task


class GroupParts(Signature):
    """The part of a group that looks at its tasks."""

    tasks = getitem_property("kwargs.tasks", "The tasks of the group.")
    _header: Any = None
    _new_id: Any = None
    """The group's id, if it was made for this group, and the members have no ids yet."""

    def _set_tasks(self, tasks: list[Any]) -> None:
        """Replace the tasks, within their list if it is one: a chord's header may be the same list."""
        if isinstance(self.tasks, MutableSequence):
            self.tasks[:] = tasks
        else:
            self.tasks = tasks

    def _unroll_tasks(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Copy the tasks."""
        for task in tasks:
            yield maybe_signature(task, app=self._app).clone()

    # -- as the header of a chord

    def note_header(self, header: Any) -> None:
        """Note the chord's header that the group became when the chain around it was frozen."""
        self._header = header, tuple(self.tasks)

    @property
    def header(self) -> Any:
        """The header that was noted; None without one, and if the group has got other tasks since then."""
        if self._header is None:
            return None
        header, tasks = self._header
        unchanged = len(tasks) == len(self.tasks) and all(map(operator.is_, tasks, self.tasks))
        return header if unchanged else None

    # -- questions

    def __repr__(self) -> str:
        if not self.tasks:
            return "group(<empty>)"
        return remove_repeating_from_task(self.tasks[0]["task"], f"group({self.tasks!r})")

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def app(self) -> Any:
        """The application: the group's own, that of its first task, or the current one."""
        app = self._app
        if app is None:
            try:
                app = self.tasks[0].app
            except LookupError:
                app = None
        return app if app is not None else current_app
