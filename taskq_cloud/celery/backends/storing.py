"""Storing the states of tasks: the part of ``Backend`` that makes documents."""

from __future__ import annotations

from functools import partial
from typing import Any

from taskq_cloud.celery._state import get_current_task
from taskq_cloud.celery.backends.encoding import Encoding
from taskq_cloud.celery.backends.retrying import Retrying
from taskq_cloud.celery.exceptions import BackendStoreError


class Storing(Encoding, Retrying):
    """The part of ``Backend`` that stores."""

    _cache: Any

    def _get_result_meta(
        self,
        result: Any,
        state: str,
        traceback: Any,
        request: Any,
        format_date: bool = True,
        encode: bool = False,
    ) -> dict[str, Any]:
        """Make the document of a task."""
        done = self.app.now() if state in self.READY_STATES else None
        meta = {
            "status": state,
            "result": result,
            "traceback": traceback,
            "children": self.current_task_children(request),
            "date_done": done.isoformat() if done is not None and format_date else done,
        }
        if not request:
            return meta
        for name, attribute in (("group_id", "group"), ("parent_id", "parent_id")):
            if getattr(request, attribute, None):
                meta[name] = getattr(request, attribute)
        if self.app.conf.result_extended:
            meta |= self._extended_meta(request, encode=encode)
        return meta

    def _extended_meta(self, request: Any, *, encode: bool) -> dict[str, Any]:
        delivery = getattr(request, "delivery_info", None)
        meta: dict[str, Any] = {
            "name": getattr(request, "task", None),
            "args": getattr(request, "args", None),
            "kwargs": getattr(request, "kwargs", None),
            "worker": getattr(request, "hostname", None),
            "retries": getattr(request, "retries", None),
            "queue": delivery.get("routing_key") if delivery else None,
        }
        if getattr(request, "stamps", None):
            meta["stamped_headers"] = request.stamped_headers
            meta |= {name: of for name, of in request.stamps.items() if name in (request.stamped_headers or ())}
        if encode:
            for name in ("args", "kwargs"):
                encoded = self.encode(meta[name])
                meta[name] = encoded.encode() if isinstance(encoded, str) else encoded
        return meta

    def current_task_children(self, request: Any = None) -> Any:
        """Return the results of the tasks that a task has called, as tuples; None if no task runs."""
        request = request or getattr(get_current_task(), "request", None)
        return [each.as_tuple() for each in getattr(request, "children", [])] if request else None

    def store_result(
        self,
        task_id: Any,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Store the state of a task, and return the value or the exception in the form in which it was stored.

        Args:
            task_id: the task's id.
            result: the value, the exception, or the data of a custom state.
            state: the state.
            traceback: the traceback of a failure, as text.
            request: the task's request.
            kwargs: are passed to ``_store_result``.
        """
        encoded = self.encode_result(result, state)
        self._ensure_retryable(
            self._store_result,
            task_id,
            encoded,
            state,
            traceback,
            fallback_exc=partial(BackendStoreError, task_id=task_id, state=state),
            fallback_msg="failed to store result on the backend",
            request=request,
            **kwargs,
        )
        return encoded

    def _store_result(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("backend does not implement store_result.")

    def forget(self, task_id: Any) -> None:
        """Remove the record of a task."""
        self._cache.pop(task_id, None)
        self._ensure_retryable(self._forget, task_id)

    def _forget(self, task_id: Any) -> None:
        raise NotImplementedError("backend does not implement forget.")
