"""Automatic retries: the options ``autoretry_for``, ``retry_kwargs``, ``retry_backoff`` and their kin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

from taskq_cloud.celery.exceptions import Ignore, Retry
from taskq_cloud.celery.utils.time import get_exponential_backoff_interval

__all__ = ("add_autoretry_behaviour",)

_DEFAULTS: Final[Mapping[str, Any]] = {
    "autoretry_for": (),
    "dont_autoretry_for": (),
    "retry_backoff": False,
    "retry_backoff_max": 600,
    "retry_jitter": True,
    "retry_kwargs": {},
}


def add_autoretry_behaviour(task: Any, **options: Any) -> None:
    """Have a task call its own ``retry`` for the exceptions that ``autoretry_for`` names.

    Args:
        task: the task, whose ``run`` is replaced.
        options: the options of its declaration; what is not among them is read from its attributes.
    """

    def option(name: str) -> Any:
        return options.get(name, getattr(task, name, _DEFAULTS[name]))

    retried = tuple(option("autoretry_for"))
    if not retried or hasattr(task, "_orig_run"):
        return
    not_retried = (Ignore, Retry, *option("dont_autoretry_for"))
    given = dict(option("retry_kwargs"))
    backoff = {
        "factor": float(option("retry_backoff")),
        "maximum": int(option("retry_backoff_max")),
        "full_jitter": option("retry_jitter"),
    }

    @contextmanager
    def retrying() -> Iterator[None]:
        try:
            yield
        except not_retried:
            raise
        except retried as error:
            _retry(task, error, given, backoff)

    _replace_run(task, retrying)


def _retry(task: Any, error: BaseException, given: Mapping[str, Any], backoff: Mapping[str, Any]) -> None:
    """Ask for a retry, after the pause that the options say."""
    arguments = dict(given)
    if backoff["factor"]:
        factor = int(max(1.0, backoff["factor"]))
        arguments["countdown"] = get_exponential_backoff_interval(
            **{**backoff, "factor": factor}, retries=task.request.retries
        )
    if hasattr(task, "override_max_retries"):
        arguments["max_retries"] = task.override_max_retries
    asked = task.retry(exc=error, **arguments)
    if hasattr(task, "override_max_retries"):
        del task.override_max_retries
    raise asked


def _replace_run(task: Any, retrying: Callable[[], Any]) -> None:
    task._orig_run = task.run
    if inspect.iscoroutinefunction(task.run):

        @wraps(task.run)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            with retrying():
                return await task._orig_run(*args, **kwargs)

        task.run = arun
        return

    @wraps(task.run)
    def run(*args: Any, **kwargs: Any) -> Any:
        with retrying():
            return task._orig_run(*args, **kwargs)

    task.run = run
