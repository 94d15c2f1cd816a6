"""The result of a group: ``GroupResult``, which ``save`` keeps in the backend."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.result.result_set import ResultSet
from taskq_cloud.results import group_result as native


class GroupResult(ResultSet, native.GroupResult):
    """The results of a group.

    Args:
        id: the group's id.
        results: the results of the group's members.
        parent: the result of the task or group before it in a chain.
        kwargs: as for ``ResultSet``.
    """

    id: Any = None

    def __init__(self, id: Any = None, results: Any = None, parent: Any = None, **kwargs: Any) -> None:
        self.id = id
        self.parent = parent
        ResultSet.__init__(self, results, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(str(each.id) for each in self.results)}]>"

    def __str__(self) -> str:
        return str(self.id)

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, native.GroupResult):
            return other.id == self.id and other.results == self.results and other.parent == self.parent
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:  # type: ignore[override]  # a group has an id, other sets have none
        return hash(self.id)

    def __reduce__(self) -> Any:
        return type(self), self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        """The arguments with which the result is made anew."""
        return self.id, self.results

    def _on_ready(self) -> None:
        self.backend.remove_pending_result(self)
        super()._on_ready()

    @property
    def children(self) -> Any:
        """The results of the group's members."""
        return self.results

    def as_tuple(self) -> Any:
        """Write the result as a tuple, which ``result_from_tuple`` reads."""
        return (self.id, self.parent and self.parent.as_tuple()), [each.as_tuple() for each in self.results]

    def save(self, backend: Any = None) -> Any:
        """Save the list of the group's tasks, for ``restore``.

        Args:
            backend: the backend that keeps it; None: the application's.
        """
        return (backend or self.app.backend).save_group(self.id, self)

    def delete(self, backend: Any = None) -> None:
        """Remove the list that ``save`` has written."""
        (backend or self.app.backend).delete_group(self.id)

    @classmethod
    def restore(cls, id: Any, backend: Any = None, app: Any = None) -> Any:
        """Read a group that ``save`` has written; None if it was never saved or has expired.

        Args:
            id: the group's id.
            backend: the backend that keeps it; None: the application's.
            app: the application; None: the current one.
        """
        bound: Any = cls.app
        app = app or (current_app if isinstance(bound, property) else bound)
        return (backend or app.backend).restore_group(id)
