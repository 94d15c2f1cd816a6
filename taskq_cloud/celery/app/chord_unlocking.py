"""The task ``celery.chord_unlock``: it waits for the header of a chord by retries, and then sends the body.

The native pipeline counts the members of chords, and sends no such task. It is here for code that calls it by name.
"""

from __future__ import annotations

import logging
from typing import Any

from taskq_cloud.celery.exceptions import ChordError, Retry

logger = logging.getLogger("taskq_cloud.celery.app.builtins")


def declare(app: Any) -> Any:
    """Declare the task on an application."""

    def unlock_chord(
        self: Any,
        group_id: str,
        callback: Any,
        interval: float | None = None,
        max_retries: int | None = None,
        result: Any = None,
        Result: Any = None,
        GroupResult: Any = None,
        result_from_tuple: Any = None,
        **kwargs: Any,
    ) -> None:
        from taskq_cloud.celery import result as results  # few processes unlock chords
        from taskq_cloud.celery.canvas import maybe_signature

        made = result_from_tuple or results.result_from_tuple
        members = [made(each, app=app) for each in result or ()]
        header = (GroupResult or app.GroupResult)(group_id, members, app=app)
        body = maybe_signature(callback, app=app)
        exchange_type = kwargs.pop("_chord_unlock_exchange_type", None)
        options = {} if exchange_type is None else {"exchange_type": exchange_type}
        options |= {"countdown": self.default_retry_delay if interval is None else interval, "max_retries": max_retries}
        _wait(self, group_id, header, body, options)
        _send(self.app if self.app is not None else app, group_id, header, body)

    return app.task(
        name="celery.chord_unlock",
        max_retries=None,
        shared=False,
        default_retry_delay=app.conf.result_chord_retry_interval,
        ignore_result=True,
        lazy=False,
        bind=True,
    )(unlock_chord)


def _wait(task: Any, group_id: str, header: Any, body: Any, options: dict[str, Any]) -> None:
    """Retry the task until all members have ended. If it can't be retried, the body fails."""
    asked: Exception | None = None
    try:
        try:
            ready = header.ready()
        except Exception as error:
            asked = error
            task.retry(exc=error, **options)
            return
        if not ready:
            task.retry(**options)
    except Retry:
        raise
    except Exception as error:
        logger.exception("chord %r failed: the task that waits for its header can't be retried", group_id)
        cause = getattr(error, "reason", None) or error
        reason = f"chord_unlock could not be retried: {cause!r}"
        if asked is not None and asked is not cause:
            reason += f" (after deps.ready() raised {asked!r})"
        _fail(task.app, body, reason, cause)
        raise


def _send(app: Any, group_id: str, header: Any, body: Any) -> None:
    """Send the body with the members' values; if one of them has failed, so does the body."""
    from taskq_cloud.celery.result import allow_join_result  # few processes unlock chords

    join = header.join_native if header.supports_native_join else header.join
    try:
        with allow_join_result():
            values = join(timeout=app.conf.result_chord_join_timeout, propagate=True)
    except Exception as error:
        failed = next(header._failed_join_report(), None)
        reason = repr(error) if failed is None else f"Dependency {failed.id} raised {error!r}"
        logger.exception("chord %r failed: a member of its header has", group_id)
        _fail(app, body, reason, error)
        return
    try:
        body.delay(values)
    except Exception as error:
        logger.exception("chord %r failed: its body could not be sent", group_id)
        _fail(app, body, f"Callback error: {error!r}", error)


def _fail(app: Any, body: Any, reason: str, cause: BaseException) -> None:
    error = ChordError(reason)
    error.__cause__ = cause
    app.backend.chord_error_from_stack(callback=body, exc=error)
