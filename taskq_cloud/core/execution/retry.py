"""What an exception that leaves a task means: a retry, a failure, or what the task said. Decided here, not done."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Final

from taskq_cloud import errors
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Ignored, Outcome, Rejected, Replaced, Retrying
from taskq_cloud.core.model.validation import aware
from taskq_cloud.errors import Ignore, MaxRetriesExceededError, Reject, Retry

LONGEST_DELAY_SECONDS: Final = 10 * 366 * 86_400
"""Ten years: past any real delay, and far from the largest time there is."""

_RNG = random.Random()


def decide(
    error: BaseException,
    task: str,
    task_id: str,
    retries: int,
    options: TaskOptions,
    rng: random.Random = _RNG,
) -> Outcome:
    """The outcome of a run that ended in an exception.

    Args:
        error: what left the task.
        task: the task's name.
        task_id: the task's id.
        retries: the attempts before this one.
        options: the task's.
        rng: draws the jitter.
    """
    try:
        return _decide(error, task, task_id, retries, options, rng)
    except (TypeError, ValueError, OverflowError) as wrong:
        # A countdown that is no number, say: the task's own mistake, and so its failure.
        return Failed(ErrorInfo.of(wrong))


def _decide(
    error: BaseException, task: str, task_id: str, retries: int, options: TaskOptions, rng: random.Random
) -> Outcome:
    match error:
        case errors.Replaced():
            return Replaced(error.signature)
        case Ignore():
            return Ignored()
        case Reject():
            return Rejected(error.reason, error.requeue)
        case Retry():
            return _requested(error, task, task_id, retries, options)
    if isinstance(error, options.autoretry_for) and not isinstance(error, options.dont_autoretry_for):
        most = options.retry_kwargs.get("max_retries", options.max_retries)
        if not exhausted(retries, most):
            return Retrying(ErrorInfo.of(error), _possible(automatic_delay(retries, options, rng)))
    return Failed(ErrorInfo.of(error), expected=isinstance(error, options.throws))


def exhausted(retries: int, max_retries: int | None) -> bool:
    """Whether no retry is left after ``retries`` of them."""
    return max_retries is not None and retries >= max_retries


def no_retry_left(task: str, task_id: str, exc: BaseException | None) -> BaseException:
    """What is raised where no retry is left: the cause itself where there is one, as in Celery."""
    return exc or MaxRetriesExceededError(f"can't retry {task}[{task_id}]: max_retries is used up")


def automatic_delay(retries: int, options: TaskOptions, rng: random.Random = _RNG) -> float:
    """Seconds before an automatic retry: ``min(retry_backoff_max, factor * 2**retries)``; jitter draws below that."""
    if not options.retry_backoff:
        return float(options.retry_kwargs.get("countdown", options.default_retry_delay))
    factor = max(1, int(options.retry_backoff))
    # No float is larger than 2**1023; the ceiling is reached long before.
    delay = min(options.retry_backoff_max, factor * 2.0 ** min(retries, 1000))
    return float(rng.randint(0, int(delay))) if options.retry_jitter else delay


def _requested(request: Retry, task: str, task_id: str, retries: int, options: TaskOptions) -> Outcome:
    most = options.max_retries if request.max_retries is None else request.max_retries
    if exhausted(retries, most):
        return Failed(ErrorInfo.of(no_retry_left(task, task_id, request.exc)))
    match request.when:
        case None:
            delay = options.default_retry_delay
        case datetime():
            delay = (aware(request.when) - datetime.now(UTC)).total_seconds()
        case _:
            delay = float(request.when)
    cause = request.exc or request
    return Retrying(ErrorInfo.of(cause), _possible(delay), request.retry_args, request.retry_kwargs)


def _possible(delay_seconds: float) -> float:
    if delay_seconds <= LONGEST_DELAY_SECONDS:
        return max(0.0, delay_seconds)
    raise ValueError(f"a task can't be retried in {delay_seconds} s; {LONGEST_DELAY_SECONDS} is the most")
