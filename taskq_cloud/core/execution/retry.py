"""Decides what the exception that ended a task's run means: a retry, a failure, or the outcome that the task asks for.

Nothing is done here: the outcome is a value, and ``outcomes`` acts on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeAlias

from taskq_cloud import errors
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Ignored, Outcome, Rejected, Replaced, Retrying
from taskq_cloud.core.model.validation import aware
from taskq_cloud.errors import Ignore, MaxRetriesExceededError, Reject, Retry

LONGEST_DELAY_SECONDS: Final = 10 * 366 * 86_400
"""Ten years: longer than any real delay, and far from the largest time that a datetime can hold."""

_RNG = random.Random()

Describe: TypeAlias = Callable[[BaseException], ErrorInfo]
"""Describes an exception as plain data; a run in place also keeps the exception itself."""


def decide(
    error: BaseException,
    task: str,
    task_id: str,
    retries: int,
    options: TaskOptions,
    rng: random.Random = _RNG,
    describe: Describe = ErrorInfo.of,
) -> Outcome:
    """Decide the outcome of a run that ended in an exception.

    Args:
        error: the exception.
        task: the task's name.
        task_id: the task's id.
        retries: the number of attempts before this one.
        options: the options that the task was declared with.
        rng: draws the jitter.
        describe: describes the exception that the outcome names, which need not be ``error``.
    """
    try:
        return _decide(error, task, task_id, retries, options, rng, describe)
    except (TypeError, ValueError, OverflowError) as wrong:
        # A mistake of the task, such as a countdown that isn't a number, is the task's failure.
        return Failed(describe(wrong))


def _decide(
    error: BaseException,
    task: str,
    task_id: str,
    retries: int,
    options: TaskOptions,
    rng: random.Random,
    describe: Describe,
) -> Outcome:
    match error:
        case errors.Replaced():
            return Replaced(error.signature)
        case Ignore():
            return Ignored()
        case Reject():
            return Rejected(error.reason, error.requeue)
        case Retry():
            return _requested(error, task, task_id, retries, options, describe)
    if isinstance(error, options.autoretry_for) and not isinstance(error, options.dont_autoretry_for):
        max_retries = options.retry_kwargs.get("max_retries", options.max_retries)
        if not exhausted(retries, max_retries):
            return Retrying(describe(error), _checked_delay(automatic_delay(retries, options, rng)))
    return Failed(describe(error), expected=isinstance(error, options.throws))


def exhausted(retries: int, max_retries: int | None) -> bool:
    """Whether a task that was retried ``retries`` times can't be retried again; ``max_retries`` None: no limit."""
    return max_retries is not None and retries >= max_retries


def no_retry_left(task: str, task_id: str, exc: BaseException | None) -> BaseException:
    """The error of a task without a retry left: the error that it was to be retried for, if any, as in Celery."""
    return exc or MaxRetriesExceededError(f"can't retry {task}[{task_id}]: max_retries is used up")


def automatic_delay(retries: int, options: TaskOptions, rng: random.Random = _RNG) -> float:
    """The seconds before an automatic retry: ``min(retry_backoff_max, factor * 2**retries)``, or less with jitter."""
    if not options.retry_backoff:
        return float(options.retry_kwargs.get("countdown", options.default_retry_delay))
    factor = max(1, int(options.retry_backoff))
    # A float can't hold 2**1024; retry_backoff_max is reached long before.
    delay = min(options.retry_backoff_max, factor * 2.0 ** min(retries, 1000))
    return float(rng.randint(0, int(delay))) if options.retry_jitter else delay


def _requested(
    request: Retry, task: str, task_id: str, retries: int, options: TaskOptions, describe: Describe
) -> Outcome:
    max_retries = options.max_retries if request.max_retries is None else request.max_retries
    if exhausted(retries, max_retries):
        return Failed(describe(no_retry_left(task, task_id, request.exc)))
    match request.when:
        case None:
            delay = options.default_retry_delay
        case datetime():
            delay = (aware(request.when) - datetime.now(UTC)).total_seconds()
        case _:
            delay = float(request.when)
    cause = request.exc or request
    return Retrying(describe(cause), _checked_delay(delay), request.retry_args, request.retry_kwargs)


def _checked_delay(delay_seconds: float) -> float:
    if delay_seconds <= LONGEST_DELAY_SECONDS:
        return max(0.0, delay_seconds)
    raise ValueError(f"a task can't be retried in {delay_seconds} s; the longest delay is {LONGEST_DELAY_SECONDS} s")
