"""The exception of a task with its traceback, under billiard's name."""

from __future__ import annotations

from taskq_cloud.celery.backends.exception_info import ExceptionInfo

__all__ = ("ExceptionInfo",)
