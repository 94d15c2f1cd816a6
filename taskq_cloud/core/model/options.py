"""The options of one task, and the policy that the settings give for all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from taskq_cloud.core.lazy.values import dataclass, field, fields
from taskq_cloud.core.model import option_values
from taskq_cloud.core.model.rates import Rate, parse_rate
from taskq_cloud.errors import ImproperlyConfigured, OptionError

if TYPE_CHECKING:
    from taskq_cloud.core.model.option_keywords import RateLimitScope, RuntimeChoice

T = TypeVar("T")

TASK: Final[RateLimitScope] = "task"
QUEUE: Final[RateLimitScope] = "queue"
WORKER: Final[RateLimitScope] = "worker"
FAN_OUT_MEMBERS: Final = 1_000
"""Groups with more members are sent by the task ``taskq.fan_out``. A thousand members take a hundred calls to SQS, ten
at a time: under a second, during which a caller may die. A thousand members cost one record, its replacement and three
messages more, 0.3 % of their own cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of a task, with their names, defaults and meanings in Celery; None leaves an option to the settings.

    These are the values after ``task_options`` has checked them.

    Args:
        acks_late: the message is acknowledged after the run, and comes back if the worker dies. False: it is
            acknowledged before the run, which may then be lost, but is never repeated. Celery's default is False.
        acks_on_failure: the message of a failed task is acknowledged. False: it is dead-lettered. Needs ``acks_late``.
        acks_on_timeout: the message of a task that its hard time limit has ended is acknowledged. False: it is given
            back until its receives run out. Needs ``acks_late``.
        acks_on_failure_or_timeout: both of the options above, where they are not set themselves.
        max_retries: the number of attempts after the first; None: no limit.
        default_retry_delay: seconds before a retry that names no delay.
        autoretry_for: exceptions that are retried automatically.
        dont_autoretry_for: exceptions that are not retried, although ``autoretry_for`` covers them.
        retry_kwargs: the arguments of ``self.retry`` for automatic retries, such as ``countdown`` and ``max_retries``.
        retry_backoff: True or a factor in seconds: automatic retries wait factor, 2 factor, 4 factor...
        retry_backoff_max: the longest wait before an automatic retry with ``retry_backoff``, in seconds.
        retry_jitter: the wait is drawn at random, between zero and the wait that ``retry_backoff`` gives.
        time_limit: seconds after which the task is ended and fails with ``TimeLimitExceeded``.
        soft_time_limit: seconds after which ``SoftTimeLimitExceeded`` is raised inside the task.
        ignore_result: no result is stored.
        store_errors_even_if_ignored: an error is stored even where ``ignore_result`` is set.
        store_eager_result: the results of eager calls are stored, too.
        track_started: the state STARTED is stored before the task runs.
        throws: expected exceptions, which are logged without a traceback.
        reject_on_worker_lost: a message whose process died is given back until its receives run out; otherwise, and
            after that, the task fails with ``WorkerLostError``. Celery's default is False; ours is True, as deliveries
            are counted and bounded here.
        once: no two attempts run at the same time, and a late one can't overwrite a result. Needs a ``time_limit``.
        queue: the queue of the task's messages, unless the call names another.
        serializer: the serializer of the arguments.
        compression: the compression of the arguments.
        expires: seconds after the call from which on the task is no longer run.
        priority: how urgent the task is, on a queue with levels of priority; a higher number is more urgent.
        typing: arguments are checked against the function's signature at the call.
        typed: arguments are validated, sent and made anew by the types of the function's parameters, and the value is
            written by the type of the function's value: see ``core.execution.conversion``.
        pydantic: Celery's option: arguments are made models where the function's annotations are models.
        pydantic_strict: with ``pydantic``, models are validated in pydantic's strict mode.
        pydantic_context: with ``pydantic``, the context of the validation.
        pydantic_dump_kwargs: with ``pydantic``, the arguments of ``model_dump``.
        trail: the record of the task has the tasks that it calls among its children.
        runtime: the kind of deployment that serves the task: ``lambda``, ``container``, or ``auto``: see
            ``topology.runtimes``. It makes no difference at run time.
        memory_mb: the memory that one run needs, in MiB. It makes no difference at run time.
        rate_limit: the rate at which runs may begin: ``"10/s"``, ``"100/m"``, ``"1000/h"``, or a number a second; 0: no
            limit; None: ``task_default_rate_limit``.
        rate_limit_burst: runs that may begin beyond the rate in any window of time; None: as many as two seconds allow,
            and at least 1.
        rate_limit_scope: the runs that share the limit: ``"task"``: all runs of the task; ``"queue"``: all runs of the
            tasks on its queue that have this scope; ``"worker"``: the task's runs in one process, as in Celery.
        rate_key: a template filled with the arguments, such as ``"{tenant}"``: each value has its own limit.
    """

    acks_late: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    max_retries: int | None = 3
    default_retry_delay: float = 180
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = field(default_factory=dict)
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool | None = None
    store_errors_even_if_ignored: bool | None = None
    store_eager_result: bool | None = None
    track_started: bool | None = None
    throws: tuple[type[BaseException], ...] = ()
    reject_on_worker_lost: bool = True
    once: bool = False
    queue: str | None = None
    serializer: str | None = None
    compression: str | None = None
    expires: float | None = None
    priority: int | None = None
    typing: bool = True
    typed: bool = False
    pydantic: bool = False
    pydantic_strict: bool = False
    pydantic_context: Mapping[str, Any] | None = None
    pydantic_dump_kwargs: Mapping[str, Any] | None = None
    trail: bool = True
    runtime: RuntimeChoice = "auto"
    memory_mb: int | None = None
    rate_limit: str | float | None = None
    rate_limit_burst: int | None = None
    rate_limit_scope: RateLimitScope = TASK
    rate_key: str | None = None

    @property
    def rate(self) -> Rate | None:
        """``rate_limit`` with its burst; None if there is no limit. Raises ``ImproperlyConfigured``."""
        return parse_rate(self.rate_limit, self.rate_limit_burst, of="rate_limit")


_NAMES: Final = frozenset(option.name for option in fields(TaskOptions))
_NONE_IS_DEFAULT: Final = frozenset({"reject_on_worker_lost"})
"""Options whose None, in Celery, leaves the decision to the broker or to a setting: their defaults count instead."""
_NOT_NONE: Final = frozenset(option.name for option in fields(TaskOptions) if option.default is not None) - {
    *_NONE_IS_DEFAULT,
    "max_retries",
}


def task_options(task: str, given: Mapping[str, Any]) -> TaskOptions:
    """Check the options that a task was declared with.

    Args:
        task: the task's name, for the error.
        given: option -> value.

    Raises:
        ImproperlyConfigured: an option is unknown, or its value isn't supported.
    """
    unknown = sorted(given.keys() - _NAMES)
    if unknown:
        raise ImproperlyConfigured(f"task {task}: unknown option {unknown[0]!r}; known: {', '.join(sorted(_NAMES))}")
    try:
        options = TaskOptions(**_checked(given))
    except OptionError as error:
        raise ImproperlyConfigured(f"task {task}: {error}") from None
    if options.soft_time_limit and options.time_limit and options.soft_time_limit > options.time_limit:
        raise ImproperlyConfigured(
            f"task {task}: soft_time_limit ({options.soft_time_limit} s) is over time_limit ({options.time_limit} s); "
            "a soft limit must come first"
        )
    if options.typed and options.pydantic:
        raise ImproperlyConfigured(f"task {task}: typed=True and pydantic=True exclude each other: keep one of them")
    if options.once and options.time_limit is None:
        raise ImproperlyConfigured(
            f"task {task}: once=True needs a time_limit: after that long, a crashed run no longer blocks the next one"
        )
    parse_rate(options.rate_limit, options.rate_limit_burst, of=f"task {task}: rate_limit")
    return options


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: of for name, of in given.items() if of is not None or name not in _NONE_IS_DEFAULT}
    checked = option_values.check_all(option_values.DECLARED, given)
    for name in sorted(_NOT_NONE & checked.keys()):
        if checked[name] is None:
            raise OptionError(f"{name} must be {option_values.DECLARED[name].description}, not None")
    if "retry_kwargs" in checked:
        checked["retry_kwargs"] = retry_arguments(checked["retry_kwargs"], "retry_kwargs")
    return checked


def retry_arguments(given: Mapping[str, Any], of: str) -> dict[str, Any]:
    """Check the arguments of a retry, and return those that aren't None in the form in which they are kept.

    Args:
        given: argument -> value.
        of: where the arguments come from, for the error.

    Raises:
        OptionError: an argument is unknown, or its value isn't supported.
    """
    unknown = sorted(given.keys() - option_values.RETRY.keys(), key=str)
    if unknown:
        known = ", ".join(sorted(option_values.RETRY))
        raise OptionError(f"{of}: unknown argument {unknown[0]!r} of a retry; known: {known}")
    try:
        checked = option_values.check_all(option_values.RETRY, given)
    except OptionError as error:
        raise OptionError(f"{of}: {error}") from None
    return {name: value for name, value in checked.items() if value is not None}


def first_given(*values: T | None) -> T | None:
    """The first value that is not None: an option that is None leaves the decision to the next."""
    for value in values:
        if value is not None:
            return value
    return None


def ignores_result(call: bool | None, task: TaskOptions, default: bool, *, in_chord: bool = False) -> bool:
    """Whether a task's result is not stored: the call decides, then the task's declaration, then the settings.

    Args:
        call: the call's ``ignore_result``.
        task: the options that the task was declared with.
        default: the setting ``task_ignore_result``.
        in_chord: the task is a member of a chord, which needs the results of all its members.
    """
    return not in_chord and bool(first_given(call, task.ignore_result, default))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that hold for all tasks, in the form that the execution needs.

    Args:
        acks_late: whether the messages of tasks without their own setting are acknowledged after the run.
        acks_on_failure: whether the messages of failed tasks without their own setting are acknowledged.
        acks_on_timeout: whether those of tasks that were ended by their time limit are.
        acks_on_failure_or_timeout: both of these, where they and the task's options are None.
        time_limit: the time limit of tasks without their own, in seconds.
        soft_time_limit: the soft time limit of tasks without their own, in seconds.
        ignore_result: whether the results of tasks without their own setting are ignored.
        store_errors_even_if_ignored: whether their errors are stored although results are ignored.
        track_started: whether the state STARTED of tasks without their own setting is stored.
        result_extended: records hold the task's name, arguments, worker, retries and queue.
        result_expires: seconds for which a record is kept; None: for ever.
        max_receives: deliveries of a message, after which a message that can't be run is dead-lettered.
        patience_seconds: how long a finished run waits for a broker or store that doesn't answer, before its message
            is given back to be run again.
        fan_out_members: groups with more members are sent by the task ``taskq.fan_out``; 0: no group is.
        default_rate: the rate limit of tasks without their own.
        queue_rate_limits: queue -> the rate limit of all its tasks together.
        disable_rate_limits: no rate limit applies.
    """

    acks_late: bool = True
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    acks_on_failure_or_timeout: bool = True
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool = False
    store_errors_even_if_ignored: bool = False
    track_started: bool = False
    result_extended: bool = False
    result_expires: float | None = 86400
    max_receives: int = 5
    patience_seconds: float = 0
    fan_out_members: int = FAN_OUT_MEMBERS
    default_rate: Rate | None = None
    queue_rate_limits: Mapping[str, Rate] = field(default_factory=dict)
    disable_rate_limits: bool = False

    def acknowledges_late(self, task: TaskOptions) -> bool:
        """Whether the message of a task is acknowledged after its run."""
        return self.acks_late if task.acks_late is None else task.acks_late

    def acknowledges_failure(self, task: TaskOptions) -> bool:
        """Whether the message of a task is acknowledged although the task has failed."""
        given = first_given(task.acks_on_failure, self.acks_on_failure, task.acks_on_failure_or_timeout)
        return self.acks_on_failure_or_timeout if given is None else given

    def acknowledges_timeout(self, task: TaskOptions) -> bool:
        """Whether the message of a task is acknowledged although the hard time limit has ended the task."""
        given = first_given(task.acks_on_timeout, self.acks_on_timeout, task.acks_on_failure_or_timeout)
        return self.acks_on_failure_or_timeout if given is None else given

    def limits_rate(self, task: TaskOptions, queue: str) -> bool:
        """Whether a task on this queue may have a rate limit, so that it needs a slot."""
        if self.disable_rate_limits:
            return False
        return self.default_rate is not None or task.rate_limit is not None or queue in self.queue_rate_limits
