"""The table of Celery's settings: what becomes of each of them here. ``_infrastructure_settings`` has more rows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from taskq_cloud.celery.native._infrastructure_settings import BROKERS, PROGRAMS, STORES
from taskq_cloud.celery.native._setting_kinds import NOTHING, OFF, ON, Setting, each, honoured, ignored, native, refused
from taskq_cloud.pools.cpus import AUTO


def _if_true(value: Any) -> Any:
    return value or NOTHING


def _seconds(value: Any) -> Any:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return seconds or NOTHING


def _texts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value or ()) or NOTHING


def _password(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _pool(value: Any) -> Any:
    return NOTHING if value == "custom" else value or NOTHING


def _concurrency(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() == AUTO:
        return AUTO
    return NOTHING if value in (None, 0, "") else value


def _schedules(value: Any) -> dict[str, Any]:
    """Return ``beat_schedule`` with native schedules.

    A schedule of a class that the user wrote stays as it is: only ``taskq beat`` and a deployment can't take it, and
    they say so.
    """
    if not value:
        return {}
    from taskq_cloud.celery.schedules import native_entry  # few applications have periodic tasks
    from taskq_cloud.errors import ScheduleError

    found = dict(value)
    for name, entry in found.items():
        with suppress(ScheduleError):
            found[name] = native_entry(name, entry)
    return found


TASKS: Final[Mapping[str, Setting]] = {
    "task_acks_late": native(
        "False acknowledges messages before their tasks run. Unset, they are acknowledged after the run, so that a "
        "crash loses none; in Lambda, always.",
        "task_acks_late",
        quiet=ON,
        otherwise="Messages are always acknowledged after the run.",
    ),
    "task_acks_on_failure_or_timeout": native(
        "False gives the message of a failed task back to its queue.",
        "task_acks_on_failure_or_timeout",
        quiet=ON,
        otherwise="The message of a failed task is always acknowledged.",
    ),
    "task_acks_on_failure": native(
        "False gives the message of a failed task back.",
        "task_acks_on_failure",
        quiet=ON,
        otherwise="The message of a failed task is always acknowledged.",
    ),
    "task_acks_on_timeout": native(
        "False gives the message of a timed-out task back.",
        "task_acks_on_timeout",
        quiet=ON,
        otherwise="The message of a timed-out task is always acknowledged.",
    ),
    "task_allow_error_cb_on_chord_header": honoured("An errback of a chord is added to the tasks of its header."),
    "task_always_eager": honoured("Calls of tasks and workflows run at once, in the calling process."),
    "task_annotations": honoured("The attributes of tasks are changed when the tasks are bound to the application."),
    "task_compression": native("The compression of arguments.", "task_compression"),
    "task_create_missing_queues": honoured("False refuses calls to queues that task_queues doesn't name."),
    "task_default_exchange": honoured("Queues get its name as their exchange; messages go to queues by name."),
    "task_default_exchange_type": honoured("Queues get it as their exchange's type; messages go to queues by name."),
    "task_default_priority": honoured("The priority of calls without one."),
    "task_default_queue": native("The queue of tasks that no route or option sends elsewhere.", "task_default_queue"),
    "task_default_rate_limit": native(
        "The rate limit of tasks without their own, for all workers together.", "task_default_rate_limit", _if_true
    ),
    "task_default_routing_key": honoured("Queues get it as their routing key; messages go to queues by name."),
    "task_eager_propagates": native("Eager calls raise the task's exception.", "task_eager_propagates"),
    "task_ignore_result": native("Results are not stored, unless a task or call says so.", "task_ignore_result"),
    "task_inherit_parent_priority": honoured("Calls from inside a task get its priority."),
    "task_protocol": refused(
        "Messages have version 2 of the protocol, which Celery 4 and later read: remove the setting.",
        lambda value: str(value) != "2",
    ),
    "task_queue_max_priority": native(
        "The highest priority of a queue: x-max-priority on RabbitMQ. Redis goes by priority_steps, as in Celery; on "
        "other brokers, each level of priority has a queue.",
        "task_queue_max_priority",
        otherwise="Queues don't order messages by priority: use one queue for each priority.",
    ),
    "task_queues": honoured("Workers serve these queues, and routes find their names."),
    "task_reject_on_worker_lost": honoured("The default of the tasks' option of this name; unset, it is True."),
    "task_remote_tracebacks": honoured(
        "Exceptions of results get the worker's traceback, if the package tblib is installed."
    ),
    "task_repr_maxlevels": ignored("The texts of arguments in messages are shortened by their length alone."),
    "task_retry_on_worker_lost": ignored("A message whose worker died is delivered again, up to task_max_receives."),
    "task_routes": honoured("Calls go to the queues that the routes name."),
    "task_send_sent_event": ignored("Callers send no events; results and logs show the tasks' states."),
    "task_serializer": native("The serializer of arguments.", "task_serializer"),
    "task_soft_time_limit": native("The soft time limit of tasks without one.", "task_soft_time_limit", _seconds),
    "task_store_eager_result": native(
        "Results of eager calls are stored.",
        "task_store_eager_result",
        otherwise="Results of eager calls are not stored.",
    ),
    "task_store_errors_even_if_ignored": native(
        "Failures are stored although results are ignored.", "task_store_errors_even_if_ignored"
    ),
    "task_time_limit": native("The hard time limit of tasks without one.", "task_time_limit", _seconds),
    "task_track_started": native("The state STARTED is stored before each run.", "task_track_started"),
    **each(
        "task_create_missing_queue_type task_create_missing_queue_exchange_type task_default_queue_type",
        native("The types of queues and exchanges on RabbitMQ: classic or quorum. Other brokers have no types."),
    ),
    "task_default_delivery_mode": ignored("Every broker except memory:// keeps messages on disk.", 2, "persistent"),
    **each(
        "task_publish_retry task_publish_retry_policy",
        ignored("Calls to the broker are repeated until service_timeout (10 s) is over; set that instead."),
    ),
}

RESULTS: Final[Mapping[str, Setting]] = {
    "result_backend": native("The result store: see the result backends below."),
    "result_expires": native("How long results are stored.", "result_expires"),
    "result_extended": native("Results hold the task's name, arguments, worker and queue.", "result_extended"),
    "result_compression": native(
        "The compression of results.",
        "result_compression",
        otherwise="Results are compressed only in the bucket for large payloads.",
    ),
    "result_backend_thread_safe": ignored("One store serves all threads of a process.", *ON, *OFF),
    "override_backends": honoured("The loader adds these names of backends to app.backend's."),
    "result_accept_content": ignored("Results are JSON documents, and nothing else is read from a store.", ["json"]),
    "result_serializer": ignored("Results are stored as JSON, in Celery's format."),
    "result_cache_max": honoured("How many ready results app.backend remembers."),
    "result_chord_expires": ignored("A chord's counters expire on their own, 15 days after its start."),
    "result_failure_expires": ignored("Failures expire as other results do: set result_expires."),
    **each(
        "result_chord_join_timeout result_chord_retry_interval",
        ignored("The last member of a chord sends its body; nothing polls for the members."),
    ),
    **each(
        "result_exchange result_exchange_type result_persistent",
        ignored("Only results of rpc:// are messages: they go to the caller's queue, and to no disk.", *OFF),
    ),
    **each(
        "result_backend_always_retry result_backend_base_sleep_between_retries_ms result_backend_max_retries "
        "result_backend_max_sleep_between_retries_ms",
        ignored("Calls to the store are always repeated: see service_timeout and worker_patience."),
    ),
    "result_backend_transport_options": native(
        "Options of a store: global_keyprefix of Redis, memcached and files; master_name, sentinel_kwargs and "
        "failover_strategy of Redis. The others have no effect."
    ),
}

WORKERS: Final[Mapping[str, Setting]] = {
    "worker_concurrency": native(
        "How many tasks run at the same time; auto: as many as the CPU limit of the container says.",
        "worker_concurrency",
        _concurrency,
    ),
    "worker_disable_prefetch": native(
        "True fetches a message only when a task can run: worker_prefetch_multiplier=1.",
        "worker_prefetch_multiplier",
        lambda value: 1 if value else NOTHING,
    ),
    "worker_disable_rate_limits": native("Workers ignore all rate limits.", "worker_disable_rate_limits"),
    "worker_max_memory_per_child": native(
        "The memory in KiB above which a process is replaced.", "worker_max_memory_per_child", _if_true
    ),
    "worker_max_tasks_per_child": native(
        "The tasks after which a process is replaced.", "worker_max_tasks_per_child", _if_true
    ),
    "worker_pool": native(
        "prefork (or processes), eventlet, gevent, threads, asyncio, solo or the path of a pool.",
        "worker_pool",
        _pool,
    ),
    "worker_prefetch_multiplier": native(
        "The messages that a worker holds per running task; 0 means the default here.",
        "worker_prefetch_multiplier",
        _if_true,
        changed=(0,),
    ),
    "worker_soft_shutdown_timeout": native(
        "The time from SIGTERM until running tasks are returned to their queues; 0 means 25 s.",
        "worker_shutdown_timeout",
        _seconds,
    ),
    **each(
        "worker_hijack_root_logger worker_log_color worker_log_datefmt worker_log_format worker_redirect_stdouts "
        "worker_redirect_stdouts_level worker_task_log_datefmt worker_task_log_format",
        honoured("app.log sets up logging accordingly."),
    ),
    "worker_deduplicate_successful_tasks": ignored(
        "A task that has succeeded is never run again for a repeated message, whatever the setting.", *ON
    ),
    "worker_enable_remote_control": ignored(
        "Workers take no remote control; taskq commands look into queues and results.", *OFF
    ),
    "worker_eta_task_limit": ignored("A worker holds no tasks that are due later: they wait in the queue."),
    "worker_send_task_events": ignored("Workers send no events; results and logs show the tasks' states."),
    "worker_state_db": ignored("Revoked tasks are in the result store, so a worker keeps no file of them."),
    "worker_direct": ignored("Workers have no queues of their own: name a queue for the worker, and send there."),
    "worker_cancel_long_running_tasks_on_connection_loss": ignored(
        "A worker that loses its lease on a message says so; the task runs on, and its result is fenced."
    ),
    **each(
        "worker_agent worker_autoscaler worker_consumer worker_timer worker_timer_precision worker_lost_wait "
        "worker_pool_putlocks worker_pool_restarts worker_proc_alive_timeout",
        ignored("The worker has other parts than Celery's; the platform scales it by its queues' lengths."),
    ),
    "worker_pool_start_method": ignored("Each process of the pool is started afresh (spawn).", "spawn"),
    "worker_enable_soft_shutdown_on_idle": ignored("An idle worker stops at once, and nothing is lost by it."),
    **each(
        "worker_enable_prefetch_count_reduction worker_detect_quorum_queues",
        ignored("Workers take from RabbitMQ what their pool has room for, whatever the type of the queue."),
    ),
}

GENERAL: Final[Mapping[str, Setting]] = {
    "accept_content": native("The serializers that a worker accepts.", "accept_content", _texts),
    "enable_utc": native("Whether times are in UTC.", "enable_utc"),
    "imports": native("Modules that a worker imports, with those of include."),
    "include": native("Modules that a worker imports, after those of imports."),
    "timezone": native("The time zone of crontabs without their own."),
    "beat_schedule": native("Periodic tasks.", "beat_schedule", _schedules),
    "beat_scheduler": honoured("A scheduler class runs in beat -S; taskq beat and deployments read beat_schedule."),
    "beat_schedule_filename": honoured(
        "The file of PersistentScheduler; taskq beat keeps its state in the result store."
    ),
    "beat_max_loop_interval": honoured("How long a scheduler class sleeps at most; taskq beat decides by itself."),
    "beat_sync_every": honoured("How many tasks a scheduler class sends between two writes of its file."),
    "beat_cron_starting_deadline": honoured("How old a missed tick may be that crontab still sends, in seconds."),
    **each(
        "beat_enable_remote_control beat_remote_control_max_tick_age",
        ignored("Beat takes no remote control; a deployment's health check looks at its process."),
    ),
    "security_key": native("The private key of the serializer auth.", "security_key"),
    "security_key_password": native("The password of the private key.", "security_key_password", _password),
    "security_certificate": native("The certificate of the serializer auth.", "security_certificate"),
    "security_cert_store": native("The trusted certificates of the serializer auth.", "security_cert_store"),
    "security_digest": native("The digest of the serializer auth.", "security_digest"),
    **each(
        "control_exchange control_queue_durable control_queue_exclusive control_queue_expires control_queue_ttl",
        ignored("Workers take no remote control, so there are no queues for it."),
    ),
    **each(
        "event_exchange event_queue_durable event_queue_exclusive event_queue_expires event_queue_prefix "
        "event_queue_ttl event_serializer",
        ignored("Workers send no events, so there are no queues for them."),
    ),
}

SETTINGS: Final[Mapping[str, Setting]] = {**GENERAL, **BROKERS, **TASKS, **RESULTS, **WORKERS, **STORES, **PROGRAMS}
"""Setting -> what becomes of it."""
