"""Reading the states of tasks, and saving groups: the part of ``Backend`` that returns documents."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from taskq_cloud.celery import states
from taskq_cloud.celery.backends.retrying import Retrying
from taskq_cloud.celery.exceptions import BackendGetMetaError


class Reading(Retrying):
    """The part of ``Backend`` that reads."""

    app: Any
    _cache: Any

    def _ensure_not_eager(self) -> None:
        conf = self.app.conf
        if conf.task_always_eager and not conf.task_store_eager_result:
            warnings.warn(
                "Results are not stored in backend and should not be retrieved when task_always_eager is enabled, "
                "unless task_store_eager_result is enabled.",
                RuntimeWarning,
                stacklevel=3,
            )

    def get_task_meta(self, task_id: Any, cache: bool = True) -> Any:
        """Return the document of a task.

        Args:
            task_id: the task's id.
            cache: whether a document that was read before will do.
        """
        self._ensure_not_eager()
        if cache and task_id in self._cache:
            return self._cache[task_id]
        meta = self._ensure_retryable(
            self._get_task_meta_for,
            task_id,
            fallback_exc=partial(BackendGetMetaError, task_id=task_id),
            fallback_msg="failed to get meta",
        )
        if cache and meta.get("status") == states.SUCCESS:
            self._cache[task_id] = meta
        return meta

    def _get_task_meta_for(self, task_id: Any) -> Any:
        raise NotImplementedError("backend does not implement get_task_meta.")

    def get_state(self, task_id: Any) -> Any:
        """Return the state of a task."""
        return self.get_task_meta(task_id)["status"]

    get_status = get_state

    def get_result(self, task_id: Any) -> Any:
        """Return the value of a task, or its exception."""
        return self.get_task_meta(task_id).get("result")

    def get_traceback(self, task_id: Any) -> Any:
        """Return the traceback of a failed task."""
        return self.get_task_meta(task_id).get("traceback")

    def get_children(self, task_id: Any) -> Any:
        """Return the results of the tasks that a task has called, as they are stored."""
        return self.get_task_meta(task_id).get("children")

    def task_result_exists(self, task_id: Any) -> bool:
        """Whether there is a record of a task."""
        return bool(self._get_task_meta_for(task_id)["status"] != states.PENDING)

    def is_cached(self, task_id: Any) -> bool:
        """Whether the document of a task is remembered."""
        return task_id in self._cache

    def reload_task_result(self, task_id: Any) -> None:
        """Read the document of a task again."""
        self._cache[task_id] = self.get_task_meta(task_id, cache=False)

    # -- groups

    def reload_group_result(self, group_id: Any) -> None:
        """Read a saved group again."""
        self._cache[group_id] = self.get_group_meta(group_id, cache=False)

    def get_group_meta(self, group_id: Any, cache: bool = True) -> Any:
        """Return the document of a saved group; None if there is none."""
        self._ensure_not_eager()
        if cache and group_id in self._cache:
            return self._cache[group_id]
        meta = self._ensure_retryable(self._restore_group, group_id)
        if cache and meta is not None:
            self._cache[group_id] = meta
        return meta

    def restore_group(self, group_id: Any, cache: bool = True) -> Any:
        """Return a saved group; None if there is none."""
        meta = self.get_group_meta(group_id, cache=cache)
        return meta["result"] if meta else None

    def save_group(self, group_id: Any, result: Any) -> Any:
        """Save the list of a group's tasks."""
        return self._ensure_retryable(self._save_group, group_id, result)

    def delete_group(self, group_id: Any) -> Any:
        """Remove a saved group."""
        self._cache.pop(group_id, None)
        return self._ensure_retryable(self._delete_group, group_id)

    def _save_group(self, group_id: Any, result: Any) -> Any:
        raise NotImplementedError("backend does not implement save_group.")

    def _restore_group(self, group_id: Any) -> Any:
        raise NotImplementedError("backend does not implement restore_group.")

    def _delete_group(self, group_id: Any) -> Any:
        raise NotImplementedError("backend does not implement delete_group.")
