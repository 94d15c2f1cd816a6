"""What a task says of itself, and what the deployment says of all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from taskq_cloud.core.model.rates import Rate, parse_rate
from taskq_cloud.errors import ImproperlyConfigured

RuntimeChoice = Literal["auto", "container", "lambda"]

_RUNTIMES: Final = get_args(RuntimeChoice)

TASK: Final = "task"
QUEUE: Final = "queue"
WORKER: Final = "worker"
FAN_OUT_MEMBERS: Final = 1_000
"""Groups with more members are sent by the task ``taskq.fan_out``. A thousand members take a hundred calls of SQS, ten
at a time: under a second, in which a caller may die. Each thousand costs one record, its replacement and three
messages, 0.3 % of what its members cost."""
SCOPES: Final = (TASK, QUEUE, WORKER)
"""Who shares a rate limit: ``TaskOptions.rate_limit_scope``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """A task's options, by the names, defaults and meanings they have in Celery; None leaves it to the settings.

    Args:
        max_retries: attempts beside the first; None: without end.
        default_retry_delay: seconds before a retry that says nothing else.
        autoretry_for: exceptions that are retried without the task's asking.
        dont_autoretry_for: exceptions among them that are not.
        retry_kwargs: ``countdown`` and ``max_retries`` of automatic retries.
        retry_backoff: True or a factor in seconds: automatic retries wait factor, 2 factor, 4 factor...
        retry_backoff_max: no such wait is longer, in seconds.
        retry_jitter: a wait is drawn between zero and that.
        time_limit: the task is ended after this many seconds and fails with ``TimeLimitExceeded``.
        soft_time_limit: ``SoftTimeLimitExceeded`` is raised inside the task after this many seconds.
        ignore_result: no result is stored.
        store_errors_even_if_ignored: but a failure is.
        track_started: the state STARTED is stored before the task runs.
        throws: exceptions that are expected: logged without a traceback.
        reject_on_worker_lost: a message whose process died is given back, until its receives run out; otherwise, and
            after that, the task fails with ``WorkerLostError``. Celery's default is False; ours True, as deliveries
            here are counted and bounded.
        once: no two attempts run at the same time, and a late one can't overwrite a result. Needs a ``time_limit``.
        queue: where its messages go, unless the call says so.
        serializer: of its arguments.
        compression: of its arguments.
        expires: seconds after the call, from which on the task is not run any more.
        priority: carried for Celery's workers.
        typing: arguments are checked against the function's signature at the call.
        trail: the tasks that it calls are among its record's children.
        runtime: what is deployed to serve the task: ``lambda``, ``container``, or ``auto``: see ``topology.runtimes``.
            Nothing at run time looks at it.
        memory_mb: what one run needs, in MiB, likewise.
        rate_limit: how many may begin: ``"10/s"``, ``"100/m"``, ``"1000/h"``, or a number a second; 0: as many as come;
            None: ``task_default_rate_limit``.
        rate_limit_burst: at most so many more, in any window of time; None: what two seconds allow, and at least 1.
        rate_limit_scope: who shares the limit: ``"task"``: all runs of the task; ``"queue"``: those of all tasks of its
            queue that say so; ``"worker"``: the task's in one process, which is Celery's meaning.
        rate_key: every value of it has a limit of its own; made of the arguments: ``"{tenant}"``.
    """

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
    track_started: bool | None = None
    throws: tuple[type[BaseException], ...] = ()
    reject_on_worker_lost: bool = True
    once: bool = False
    queue: str | None = None
    serializer: str | None = None
    compression: str | None = None
    expires: float | None = None
    priority: int = 0
    typing: bool = True
    trail: bool = True
    runtime: RuntimeChoice = "auto"
    memory_mb: int | None = None
    rate_limit: str | float | None = None
    rate_limit_burst: int | None = None
    rate_limit_scope: str = TASK
    rate_key: str | None = None

    @property
    def rate(self) -> Rate | None:
        """``rate_limit`` and its burst; raises ``ImproperlyConfigured``."""
        return parse_rate(self.rate_limit, self.rate_limit_burst, of="rate_limit")


_NAMES = frozenset(option.name for option in fields(TaskOptions))


def task_options(task: str, given: Mapping[str, Any]) -> TaskOptions:
    """Check the options a task was declared with.

    Args:
        task: the task's name, for the error.
        given: option -> value.

    Raises:
        ImproperlyConfigured: an option is unknown, or can't be honoured.
    """
    given = dict(given)
    # Every delivery is acknowledged after the run; an application that says so already need not change.
    if given.pop("acks_late", True) is not True:
        raise ImproperlyConfigured(
            f"task {task}: acks_late=False is not to be had: messages are acknowledged after the run"
        )
    unknown = sorted(given.keys() - _NAMES)
    if unknown:
        raise ImproperlyConfigured(f"task {task}: unknown option {unknown[0]!r}; known: {', '.join(sorted(_NAMES))}")
    for name in ("autoretry_for", "dont_autoretry_for", "throws"):
        if name in given:
            given[name] = tuple(given[name])
    options = TaskOptions(**given)
    if options.soft_time_limit and options.time_limit and options.soft_time_limit > options.time_limit:
        raise ImproperlyConfigured(
            f"task {task}: soft_time_limit ({options.soft_time_limit} s) is over time_limit ({options.time_limit} s)"
        )
    if options.runtime not in _RUNTIMES:
        raise ImproperlyConfigured(f"task {task}: runtime is {options.runtime!r}; it is one of {', '.join(_RUNTIMES)}")
    if options.memory_mb is not None and options.memory_mb <= 0:
        raise ImproperlyConfigured(f"task {task}: memory_mb is {options.memory_mb}; it is a number of MiB over zero")
    if options.once and options.time_limit is None:
        raise ImproperlyConfigured(f"task {task}: once=True needs a time_limit: it is how long a claim lasts")
    parse_rate(options.rate_limit, options.rate_limit_burst, of=f"task {task}: rate_limit")
    if options.rate_limit_scope not in SCOPES:
        raise ImproperlyConfigured(
            f"task {task}: rate_limit_scope={options.rate_limit_scope!r} is none of {', '.join(SCOPES)}"
        )
    return options


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the settings say of every task, as the execution needs it.

    Args:
        time_limit: of tasks that have none of their own, in seconds.
        soft_time_limit: likewise.
        ignore_result: for tasks that don't say.
        store_errors_even_if_ignored: for tasks that don't say.
        track_started: for tasks that don't say.
        result_extended: records hold the task's name, arguments, worker, retries and queue.
        result_expires: seconds a record is kept; None: for ever.
        max_receives: deliveries of a message, after which what can't be run is dead-lettered.
        patience_seconds: how long a finished run waits for a broker or store that gives no answer, before its message
            is given back, to be run again.
        fan_out_members: groups of more members are sent by a task of their own; 0: none are.
        default_rate: of tasks that have no rate limit of their own.
        queue_rate_limits: queue -> the rate of all its tasks together.
        disable_rate_limits: there are none.
    """

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
