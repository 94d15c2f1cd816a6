"""Values of settings that both of their readers need: ``runtime.plain_settings``, and ``taskq_cloud.settings``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from taskq_cloud.core.model.options import Policy
from taskq_cloud.core.model.priorities import NO_PRIORITIES, PriorityLevels
from taskq_cloud.core.model.rates import parse_rate
from taskq_cloud.errors import ImproperlyConfigured

LOCAL_BROKER: Final = "sqlite:///.taskq/broker.db"
LOCAL_RESULTS: Final = "sqlite:///.taskq/results.db"

CELERY_NAMES: Final = {"broker_url": "broker", "result_backend": "results"}
"""Celery's name of a setting -> ours."""


def given_values(given: Mapping[str, Any], more: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the values that an application's code and its command line give, under our names.

    Args:
        given: the keyword arguments of the application.
        more: the settings of the command line, which win.
        known: the names of all settings.

    Raises:
        ImproperlyConfigured: a keyword is not a setting, or two names of one setting have different values.
    """
    for name, ours in CELERY_NAMES.items():
        if given.get(name) is not None and given.get(ours) not in (None, given[name]):
            raise ImproperlyConfigured(
                f"{name} is another name of the setting {ours}, and the two values differ: keep one"
            )
    values = {CELERY_NAMES.get(name, name): value for name, value in given.items()} | dict(more)
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise ImproperlyConfigured(f"unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return values


def results_url(settings: Any) -> str:
    """Return the URL of the result store: the setting, or a local store if the broker is local."""
    if settings.results is not None:
        return str(settings.results)
    scheme = settings.broker.partition(":")[0]
    return {"sqlite": LOCAL_RESULTS, "memory": "memory://"}.get(scheme, "disabled://")


def priority_levels(settings: Any) -> PriorityLevels:
    """Return the levels of priority that queues have."""
    highest, highest_of = settings.task_queue_max_priority or 0, settings.queue_max_priorities
    if not (highest or highest_of):
        return NO_PRIORITIES
    return PriorityLevels(highest, highest_of, settings.queue_priority_levels)


def policy(settings: Any, patience_seconds: float) -> Policy:
    """Return the settings that the execution of tasks needs.

    Args:
        settings: all settings.
        patience_seconds: how long a finished run waits for a broker or store that doesn't answer.

    Raises:
        ImproperlyConfigured: a rate limit can't be read.
    """
    return Policy(
        acks_late=settings.task_acks_late,
        acks_on_failure=settings.task_acks_on_failure,
        acks_on_timeout=settings.task_acks_on_timeout,
        acks_on_failure_or_timeout=settings.task_acks_on_failure_or_timeout,
        time_limit=settings.task_time_limit,
        soft_time_limit=settings.task_soft_time_limit,
        ignore_result=settings.task_ignore_result,
        store_errors_even_if_ignored=settings.task_store_errors_even_if_ignored,
        track_started=settings.task_track_started,
        result_extended=settings.result_extended,
        result_expires=settings.result_expires or None,  # Celery: 0 and None both keep results for ever
        max_receives=settings.task_max_receives,
        patience_seconds=patience_seconds,
        fan_out_members=settings.task_fan_out_members,
        default_rate=parse_rate(settings.task_default_rate_limit, of="task_default_rate_limit"),
        queue_rate_limits={
            queue: rate
            for queue, given in settings.queue_rate_limits.items()
            if (rate := parse_rate(given, of=f"queue_rate_limits: {queue}")) is not None
        },
        disable_rate_limits=settings.worker_disable_rate_limits,
    )
