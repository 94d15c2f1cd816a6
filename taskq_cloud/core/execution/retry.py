"""Decides what the exception that ended a task's run means: a retry, a failure, or the outcome that the task asks for.

Nothing is done here: the outcome is a value, and ``outcomes`` acts on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from inspect import Parameter
from typing import Any, TypeAlias

from taskq_cloud import errors
from taskq_cloud.core.backoff import RNG
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.option_values import DELAY, WHEN, aware, check
from taskq_cloud.core.model.options import TaskOptions, first_given, retry_arguments
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Ignored, Outcome, Rejected, Replaced, Retrying
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import Ignore, MaxRetriesExceededError, OptionError, Reject, Retry

Describe: TypeAlias = Callable[[BaseException], ErrorInfo]
"""Describes an exception as plain data; a run in place also keeps the exception itself."""


def decide(
    error: BaseException,
    task: str,
    task_id: str,
    retries: int,
    options: TaskOptions,
    rng: random.Random = RNG,
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
        return _mistaken(wrong, error, describe)


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
            return Rejected(error.stated_reason, error.requeue)
        case Retry():
            return _requested(error, task, task_id, retries, options, describe)
    if isinstance(error, options.autoretry_for) and not isinstance(error, options.dont_autoretry_for):
        given = options.retry_kwargs
        if not exhausted(retries, given.get("max_retries", options.max_retries)):
            return Retrying(describe(error), automatic_delay(retries, options, rng), options=_others(given))
    return Failed(describe(error), expected=isinstance(error, options.throws))


def _mistaken(wrong: Exception, error: BaseException, describe: Describe) -> Failed:
    """The failure of a task that has asked for an impossible retry; the traceback has the task's own error too."""
    wrong.__cause__ = error
    return Failed(describe(wrong))


def exhausted(retries: int, max_retries: int | None) -> bool:
    """Whether a task that was retried ``retries`` times can't be retried again; ``max_retries`` None: no limit."""
    return max_retries is not None and retries >= max_retries


def no_retry_left(task: str, task_id: str, exc: BaseException | type[BaseException] | None) -> BaseException:
    """The error of a task without a retry left: the error that it was to be retried for, if any, as in Celery."""
    cause = instance_of(exc)
    return MaxRetriesExceededError(f"can't retry {task}[{task_id}]: max_retries is used up") if cause is None else cause


def instance_of(exc: BaseException | type[BaseException] | None) -> BaseException | None:
    """Make an exception of a class of exceptions, as ``raise`` does.

    Raises:
        OptionError: the value is neither an exception nor a class of exceptions.
    """
    if isinstance(exc, type) and issubclass(exc, BaseException):
        try:
            return exc()
        except Exception:
            return exc.__new__(exc)
    if isinstance(exc, BaseException | None):
        return exc
    raise OptionError(f"exc must be an exception or a class of exceptions, not {exc!r:.100}")


def automatic_delay(retries: int, options: TaskOptions, rng: random.Random = RNG) -> float:
    """The seconds before an automatic retry: ``min(retry_backoff_max, factor * 2**retries)``, or less with jitter."""
    if not options.retry_backoff:
        given = options.retry_kwargs
        return _delay_seconds(first_given(given.get("countdown"), given.get("eta"), options.default_retry_delay))
    factor = max(1, int(options.retry_backoff))
    # A float can't hold 2**1024; retry_backoff_max is reached long before.
    delay = min(options.retry_backoff_max, factor * 2.0 ** min(retries, 1000))
    return float(rng.randint(0, int(delay))) if options.retry_jitter else delay


def _requested(
    request: Retry, task: str, task_id: str, retries: int, options: TaskOptions, describe: Describe
) -> Outcome:
    checked = retry_arguments({"max_retries": request.max_retries, **request.options}, "Retry()")
    if exhausted(retries, checked.get("max_retries", options.max_retries)):
        return Failed(describe(no_retry_left(task, task_id, request.exc)))
    when = options.default_retry_delay if request.when is None else check(WHEN, "Retry(): when", request.when)
    cause = instance_of(request.exc)
    return Retrying(
        describe(request if cause is None else cause),
        _delay_seconds(when),
        request.retry_args,
        request.retry_kwargs,
        _others(checked),
    )


def _delay_seconds(when: float | datetime | None) -> float:
    if isinstance(when, datetime):
        when = (aware(when) - datetime.now(UTC)).total_seconds()
        check(DELAY, "the delay of a retry", when)
    return max(0.0, float(when or 0))


def _others(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in given.items() if name not in ("countdown", "eta", "max_retries")}


def with_arguments(
    outcome: Retrying, definition: TaskDefinition, message: Message, error: BaseException, describe: Describe
) -> Outcome:
    """Complete the arguments of a retry, if it has new ones, and check them against the function's signature.

    A new keyword argument takes the place of the same parameter's old value, however that was passed.

    Args:
        outcome: the retry.
        definition: the task's.
        message: the message whose run ended.
        error: the exception that ended it.
        describe: describes the exception that the outcome names.
    """
    if outcome.args is None and outcome.kwargs is None:
        return outcome
    args = list(message.args if outcome.args is None else outcome.args)
    kwargs = dict(message.kwargs if outcome.kwargs is None else outcome.kwargs)
    signature = definition.signature
    if outcome.args is None:
        for place, name in enumerate(list(signature.parameters)[: len(args)]):
            if name in kwargs and signature.parameters[name].kind is Parameter.POSITIONAL_OR_KEYWORD:
                args[place] = kwargs.pop(name)
    if definition.options.typing:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as wrong:
            text = f"task {definition.name}{signature}: the arguments of its retry don't fit: {wrong}"
            return _mistaken(TypeError(text), error, describe)
    return replace(outcome, args=args, kwargs=kwargs)
