"""The table of Celery 5.7's settings: their names, types, defaults and old names.

The names and defaults are those of Celery's documentation ("Configuration and defaults"), so that a configuration means
here what it means in Celery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final

from taskq_cloud.celery.utils.serialization import strtobool

DEFAULT_POOL: Final = "prefork"
DEFAULT_ACCEPT_CONTENT: Final = ("json",)
DEFAULT_SECURITY_DIGEST: Final = "sha256"
DEFAULT_PROCESS_LOG_FMT: Final = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
DEFAULT_TASK_LOG_FMT: Final = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"

OLD_NS: Final = frozenset({"celery_{0}"})
OLD_NS_BEAT: Final = frozenset({"celerybeat_{0}"})
OLD_NS_WORKER: Final = frozenset({"celeryd_{0}"})

Converter = Callable[[Any], Any]


class Option:
    """A setting.

    Args:
        default: its value if nothing sets it.
        args: not used.
        kwargs: the option's attributes: ``type`` (a key of ``typemap``), ``old`` (patterns of its old names, in which
            ``{0}`` is the name without its namespace), ``alt`` (the setting to use instead), ``deprecate_by`` and
            ``remove_by`` (versions).
    """

    alt: str | None = None
    deprecate_by: str | None = None
    remove_by: str | None = None
    old: Any = frozenset[str]()
    typemap: ClassVar[dict[str, Converter]] = {
        "string": str,
        "int": int,
        "float": float,
        "any": lambda value: value,
        "bool": strtobool,
        "dict": dict,
        "tuple": tuple,
    }

    def __init__(self, default: Any = None, *args: Any, **kwargs: Any) -> None:
        self.default = default
        self.type: Any = kwargs.get("type") or "string"
        vars(self).update(kwargs)

    def to_python(self, value: Any) -> Any:
        """Convert a text of the command line to the setting's type."""
        return self.typemap[self.type](value)

    def __repr__(self) -> str:
        return f"<Option: type->{self.type} default->{self.default!r}>"


def Namespace(__old__: Iterable[str] | None = None, **options: Any) -> dict[str, Any]:
    """Make a namespace of settings.

    Args:
        __old__: the patterns of the old names of settings that have none of their own.
        options: the settings, by their names without the namespace.
    """
    for key, option in options.items():
        if __old__ is not None and not option.old:
            option.old = {pattern.format(key) for pattern in __old__}
    return options


def old_ns(ns: str) -> set[str]:
    """Return the patterns of old names that begin with a text."""
    return {f"{ns}_{{0}}"}


def _kind(name: str, usual: Any = None) -> Callable[..., Option]:
    def option(default: Any = usual, **attributes: Any) -> Option:
        if isinstance(attributes.get("old"), str):
            attributes["old"] = {attributes["old"]}
        return Option(default, type=name, **attributes)

    return option


text = _kind("string")
flag = _kind("bool", usual=False)
on = _kind("bool", usual=True)
whole = _kind("int")
number = _kind("float")
table = _kind("dict")
anything = _kind("any")
sequence = _kind("list")
row = _kind("tuple", usual=())

STORES: Final = {
    "cassandra": Namespace(
        entry_ttl=number(),
        keyspace=text(),
        port=text(),
        read_consistency=text(),
        servers=sequence(),
        bundle_path=text(),
        table=text(),
        write_consistency=text(),
        auth_provider=text(),
        auth_kwargs=text(),
        options=table({}),
    ),
    "s3": Namespace(
        access_key_id=text(),
        secret_access_key=text(),
        bucket=text(),
        base_path=text(),
        endpoint_url=text(),
        region=text(),
    ),
    "azureblockblob": Namespace(
        container_name=text("celery"),
        retry_initial_backoff_sec=whole(2),
        retry_increment_base=whole(2),
        retry_max_attempts=whole(3),
        base_path=text(""),
        connection_timeout=whole(20),
        read_timeout=whole(120),
    ),
    "gcs": Namespace(bucket=text(), project=text(), base_path=text(""), ttl=number(0)),
}
"""The settings of result stores that have no old names."""

MESSAGES: Final = {
    "control": Namespace(
        queue_ttl=number(300.0),
        queue_expires=number(10.0),
        queue_exclusive=on(),
        queue_durable=flag(),
        exchange=text("celery"),
    ),
    "couchbase": Namespace(old_ns("celery_couchbase"), backend_settings=table()),
    "arangodb": Namespace(old_ns("celery_arangodb"), backend_settings=table()),
    "mongodb": Namespace(old_ns("celery_mongodb"), backend_settings=table()),
    "cosmosdbsql": Namespace(
        database_name=text("celerydb"),
        collection_name=text("celerycol"),
        consistency_level=text("Session"),
        max_retry_attempts=whole(9),
        max_retry_wait_time=whole(30),
    ),
    "event": Namespace(
        old_ns("celery_event"),
        queue_expires=number(60.0),
        queue_ttl=number(5.0),
        queue_prefix=text("celeryev"),
        queue_exclusive=on(),
        queue_durable=flag(),
        serializer=text("json"),
        exchange=text("celeryev"),
    ),
    "redis": Namespace(
        old_ns("celery_redis"),
        backend_use_ssl=table(),
        db=whole(),
        host=text(),
        max_connections=whole(),
        username=text(),
        password=text(),
        port=whole(),
        socket_timeout=number(120.0),
        socket_connect_timeout=number(),
        retry_on_timeout=flag(),
        socket_keepalive=flag(),
    ),
    "result": Namespace(
        old_ns("celery_result"),
        backend=text(),
        cache_max=whole(-1, old="celery_max_cached_results"),
        compression=Option(type="str"),
        exchange=text("celeryresults"),
        exchange_type=text("direct"),
        expires=number(timedelta(days=1), old="celery_task_result_expires"),
        chord_expires=number(),
        failure_expires=number(),
        persistent=flag(None),
        extended=flag(),
        serializer=text("json"),
        backend_transport_options=table({}),
        chord_retry_interval=number(1.0),
        chord_join_timeout=number(3.0),
        backend_max_sleep_between_retries_ms=whole(10_000),
        backend_max_retries=number(float("inf")),
        backend_base_sleep_between_retries_ms=whole(10),
        backend_always_retry=flag(),
    ),
    "elasticsearch": Namespace(
        old_ns("celery_elasticsearch"),
        retry_on_timeout=flag(None),
        max_retries=whole(),
        timeout=number(),
        save_meta_as_text=on(),
    ),
    "security": Namespace(
        old_ns("celery_security"),
        certificate=text(),
        cert_store=text(),
        key=text(),
        key_password=Option(type="bytes"),
        digest=text(DEFAULT_SECURITY_DIGEST),
    ),
    "database": Namespace(
        url=text(old="celery_result_dburi"),
        engine_options=table({"pool_pre_ping": True, "pool_recycle": 3600}, old="celery_result_engine_options"),
        engine_callback=anything(),
        short_lived_sessions=flag(old="celery_result_db_short_lived_sessions"),
        table_schemas=table(),
        table_names=table(old="celery_result_db_tablenames"),
        create_tables_at_setup=on(),
    ),
}
"""The settings of remote control, events, results, other result stores and signatures."""

TASK: Final = Namespace(
    OLD_NS,
    acks_late=flag(),
    acks_on_failure_or_timeout=on(
        deprecate_by="6.0", remove_by="7.0", alt="task_acks_on_failure and task_acks_on_timeout"
    ),
    acks_on_failure=flag(None),
    acks_on_timeout=flag(None),
    always_eager=flag(),
    annotations=anything(),
    compression=text(old="celery_message_compression"),
    create_missing_queues=on(),
    create_missing_queue_type=text("classic"),
    create_missing_queue_exchange_type=text(),
    inherit_parent_priority=flag(),
    default_delivery_mode=text(2),
    default_queue=text("celery"),
    default_queue_type=text("classic"),
    default_exchange=text(),
    default_exchange_type=text("direct"),
    default_routing_key=text(),
    default_rate_limit=text(),
    default_priority=text(),
    eager_propagates=flag(old="celery_eager_propagates_exceptions"),
    ignore_result=flag(),
    store_eager_result=flag(),
    protocol=whole(2, old="celery_task_protocol"),
    publish_retry=on(old="celery_task_publish_retry"),
    publish_retry_policy=table(
        {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2},
        old="celery_task_publish_retry_policy",
    ),
    queues=table(),
    queue_max_priority=whole(),
    reject_on_worker_lost=flag(None),
    retry_on_worker_lost=flag(),
    remote_tracebacks=flag(),
    repr_maxlevels=whole(3),
    routes=anything(),
    send_sent_event=flag(old="celery_send_task_sent_event"),
    serializer=text("json", old="celery_task_serializer"),
    soft_time_limit=number(old="celeryd_task_soft_time_limit"),
    time_limit=number(old="celeryd_task_time_limit"),
    store_errors_even_if_ignored=flag(),
    track_started=flag(),
    allow_error_cb_on_chord_header=flag(),
)

WORKER: Final = Namespace(
    OLD_NS_WORKER,
    agent=text(),
    autoscaler=text("taskq_cloud.celery.worker.autoscale:Autoscaler"),
    cancel_long_running_tasks_on_connection_loss=flag(),
    soft_shutdown_timeout=number(0.0),
    enable_soft_shutdown_on_idle=flag(),
    concurrency=anything(),
    consumer=text("taskq_cloud.celery.worker.consumer:Consumer"),
    direct=flag(old="celery_worker_direct"),
    disable_rate_limits=flag(old="celery_disable_rate_limits"),
    deduplicate_successful_tasks=flag(),
    enable_remote_control=on(old="celery_enable_remote_control"),
    hijack_root_logger=on(),
    log_color=flag(None),
    log_datefmt=text(),
    log_format=text(DEFAULT_PROCESS_LOG_FMT),
    lost_wait=number(10.0, old="celeryd_worker_lost_wait"),
    max_memory_per_child=whole(),
    max_tasks_per_child=whole(),
    pool=text(DEFAULT_POOL),
    pool_putlocks=on(),
    pool_restarts=flag(),
    pool_start_method=text("fork"),
    proc_alive_timeout=number(4.0),
    prefetch_multiplier=whole(4),
    eta_task_limit=whole(),
    enable_prefetch_count_reduction=on(),
    disable_prefetch=flag(),
    redirect_stdouts=on(old="celery_redirect_stdouts"),
    redirect_stdouts_level=text("WARNING", old="celery_redirect_stdouts_level"),
    send_task_events=flag(old="celery_send_events"),
    state_db=text(),
    task_log_datefmt=text(),
    task_log_format=text(DEFAULT_TASK_LOG_FMT),
    timer=text(),
    timer_precision=number(1.0),
    detect_quorum_queues=on(),
)
