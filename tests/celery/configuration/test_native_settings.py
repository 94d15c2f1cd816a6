"""Native settings that are made of Celery's."""

from __future__ import annotations

import logging
import os
import ssl
from datetime import UTC, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.brokers.registry import BROKERS
from taskq_cloud.celery.app.defaults import DEFAULTS
from taskq_cloud.celery.app.utils import detect_settings
from taskq_cloud.celery.backends.base import DisabledBackend
from taskq_cloud.celery.messaging import Exchange, Queue
from taskq_cloud.celery.native import settings
from taskq_cloud.celery.native._setting_kinds import Kind
from taskq_cloud.celery.native._settings_table import SETTINGS
from taskq_cloud.celery.native.settings import describe, native_settings
from taskq_cloud.celery.schedules import crontab, schedule
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime.plain_settings import PlainSettings
from taskq_cloud.stores.results.registry import STORES


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables, no .env, and no warnings so far."""
    for name in os.environ:
        if name.startswith(("TASKQ_", "CELERY_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    settings._warned.clear()


def made(prefix: str | None = None, **given: Any) -> dict[str, Any]:
    """The native settings of a configuration, which a native application accepts."""
    found = native_settings(detect_settings(given, prefix=prefix))
    assert TaskQ("shop", **found).conf is not None
    return found


# -- the table


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_setting_of_celery_is_classified(name: str) -> None:
    assert SETTINGS[name].kind in Kind


def test_descriptions_are_sentences_of_known_kinds() -> None:
    rows = describe()
    assert [name for name, _, _ in rows] == sorted(SETTINGS)
    for name, kind, sentence in rows:
        assert kind in {"native", "honoured", "no effect", "refused"}, name
        assert sentence.endswith("."), name


def test_native_settings_of_the_table_exist_or_say_why_not() -> None:
    for name, setting in SETTINGS.items():
        if setting.native is not None:
            assert setting.native in PlainSettings.model_fields or setting.otherwise, name


# A value of each setting that has a native one, other than the default.
VALUES: dict[str, tuple[Any, str, Any]] = {
    "accept_content": ({"json", "pickle"}, "accept_content", None),
    "enable_utc": (False, "enable_utc", False),
    "beat_schedule": ({}, "beat_schedule", {}),
    "task_compression": ("gzip", "task_compression", "gzip"),
    "task_default_queue": ("shop", "task_default_queue", "shop"),
    "task_default_rate_limit": ("10/m", "task_default_rate_limit", "10/m"),
    "task_eager_propagates": (True, "task_eager_propagates", True),
    "task_ignore_result": (True, "task_ignore_result", True),
    "task_serializer": ("yaml", "task_serializer", "yaml"),
    "task_soft_time_limit": (timedelta(seconds=5), "task_soft_time_limit", 5),
    "task_time_limit": (30, "task_time_limit", 30),
    "task_store_errors_even_if_ignored": (True, "task_store_errors_even_if_ignored", True),
    "task_track_started": (True, "task_track_started", True),
    "result_expires": (timedelta(days=2), "result_expires", timedelta(days=2)),
    "result_extended": (True, "result_extended", True),
    "worker_concurrency": (3, "worker_concurrency", 3),
    "worker_disable_prefetch": (True, "worker_prefetch_multiplier", 1),
    "worker_disable_rate_limits": (True, "worker_disable_rate_limits", True),
    "worker_max_memory_per_child": (1000, "worker_max_memory_per_child", 1000),
    "worker_max_tasks_per_child": (10, "worker_max_tasks_per_child", 10),
    "worker_pool": ("solo", "worker_pool", "solo"),
    "worker_prefetch_multiplier": (2, "worker_prefetch_multiplier", 2),
    "worker_soft_shutdown_timeout": (9.5, "worker_shutdown_timeout", 9.5),
    "security_key": ("key.pem", "security_key", "key.pem"),
    "security_key_password": (b"secret", "security_key_password", "secret"),
    "security_certificate": ("cert.pem", "security_certificate", "cert.pem"),
    "security_cert_store": ("certs/*.pem", "security_cert_store", "certs/*.pem"),
    "security_digest": ("sha512", "security_digest", "sha512"),
    "imports": (["shop"], "imports", ("shop",)),
    "include": ("shop.tasks", "imports", ("shop.tasks",)),
    "timezone": ("Europe/Berlin", "timezone", "Europe/Berlin"),
    "task_acks_late": (True, "task_acks_late", True),
    "task_acks_on_failure_or_timeout": (False, "task_acks_on_failure_or_timeout", False),
    "task_acks_on_failure": (False, "task_acks_on_failure", False),
    "task_acks_on_timeout": (False, "task_acks_on_timeout", False),
    "task_queue_max_priority": (10, "task_queue_max_priority", 10),
    "task_store_eager_result": (True, "task_store_eager_result", True),
    "result_compression": ("gzip", "result_compression", "gzip"),
    "broker_transport_options": ({"visibility_timeout": 5}, "broker_transport_options", {"visibility_timeout": 5}),
}


@pytest.mark.parametrize("name", VALUES)
def test_value_becomes_the_native_setting(name: str) -> None:
    value, native, wanted = VALUES[name]
    found = made(**{name: value})
    if native not in PlainSettings.model_fields:
        assert native not in found
        return
    if wanted is None:
        assert set(found[native]) == value
    else:
        assert found[native] == wanted


@pytest.mark.parametrize("name", sorted(name for name, row in SETTINGS.items() if row.native is not None))
def test_every_native_row_has_an_example(name: str) -> None:
    assert name in VALUES


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_celerys_default_given_by_the_user_is_accepted(name: str) -> None:
    made(**{name: DEFAULTS[name]})


def test_unset_settings_are_left_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_TASK_TIME_LIMIT", "7")
    assert made() == {"results": "disabled://"}
    assert TaskQ("shop", **made()).conf.task_time_limit == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("worker_concurrency", None), ("worker_concurrency", 0), ("task_time_limit", 0), ("task_time_limit", None)),
        *(("worker_max_tasks_per_child", 0), ("worker_soft_shutdown_timeout", 0.0), ("worker_disable_prefetch", False)),
        *(("worker_pool", None), ("accept_content", ()), ("task_compression", None)),
    ],
)
def test_value_without_meaning_leaves_the_native_default(name: str, value: Any) -> None:
    assert made(**{name: value}) == {"results": "disabled://"}


@pytest.mark.parametrize("value", ["gevent", "eventlet", "threads", "proj.pools:MyPool"])
def test_pool_keeps_its_name(value: str) -> None:
    assert made(worker_pool=value)["worker_pool"] == value


def test_automatic_concurrency_stays_automatic() -> None:
    assert made(worker_concurrency=" Auto ")["worker_concurrency"] == "auto"


def test_results_that_never_expire_stay_so() -> None:
    assert made(result_expires=None)["result_expires"] is None


def test_old_names_and_prefixes_are_read() -> None:
    assert made(CELERYD_POOL="solo", BROKER_URL="memory://")["worker_pool"] == "solo"
    found = made("CELERY", CELERY_WORKER_POOL="solo", CELERY_BROKER_URL="memory://", CELERY_PAYLOADS="s3://bucket")
    assert (found["worker_pool"], found["broker"], found["payloads"]) == ("solo", "memory://", "s3://bucket")


def test_native_settings_may_be_in_the_configuration() -> None:
    found = made(payloads="s3://bucket", visibility_timeout=timedelta(seconds=5), task_fan_out_members=3)
    assert (found["payloads"], found["visibility_timeout"], found["task_fan_out_members"]) == (
        "s3://bucket",
        timedelta(seconds=5),
        3,
    )


def test_module_of_a_native_name_is_no_setting() -> None:
    assert "payloads" not in made(payloads=ModuleType("payloads"), scheduler=print)


def test_modules_of_both_settings_are_imported_once() -> None:
    assert made(imports=("shop", "mail"), include=["mail", "pay"])["imports"] == ("shop", "mail", "pay")


@pytest.mark.parametrize(
    ("zone", "name"), [(ZoneInfo("Asia/Tokyo"), "Asia/Tokyo"), (UTC, "UTC"), ("Europe/Paris", "Europe/Paris")]
)
def test_time_zone_is_given_by_its_name(zone: Any, name: str) -> None:
    assert made(timezone=zone)["timezone"] == name


def test_time_zone_without_a_name_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="IANA name"):
        made(timezone=timezone(timedelta(hours=1)))


def test_time_zone_of_django_is_read() -> None:
    assert made("CELERY", TIME_ZONE="Europe/Paris")["timezone"] == "Europe/Paris"


def test_schedules_become_native_ones() -> None:
    app = TaskQ(
        "shop",
        **made(
            beat_schedule={
                "a": {"task": "t", "schedule": crontab(minute="5", hour="3"), "args": (1,)},
                "b": {"task": "t", "schedule": schedule(30)},
                "c": {"task": "t", "schedule": 60.0, "options": {"queue": "slow"}},
            }
        ),
    )
    app.task(name="t")(lambda *args: None)
    assert [entry.name for entry in app.schedule_entries()] == ["a", "b", "c"]


def test_default_that_was_changed_in_place_counts() -> None:
    conf = detect_settings({})
    before = conf.generation
    conf.beat_schedule["a"] = {"task": "t", "schedule": 3}
    assert conf.generation > before
    assert native_settings(conf)["beat_schedule"]["a"]["task"] == "t"


def test_schedule_of_a_users_class_stays_as_it_is() -> None:
    class Own(schedule):
        pass

    own = Own(30)
    assert made(beat_schedule={"a": {"task": "t", "schedule": own}})["beat_schedule"]["a"]["schedule"] is own


def test_options_of_stores_are_native() -> None:
    options = {"global_keyprefix": "shop_", "retry_policy": {"timeout": 5}}
    found = made(result_backend="redis://h", result_backend_transport_options=options)
    assert found["result_backend_transport_options"] == {"global_keyprefix": "shop_"}
    found = made(result_backend="db+sqlite:///x.db", database_table_names={"task": "shop_tasks"})
    assert found["result_backend_transport_options"]["table_names"] == {"task": "shop_tasks"}


# -- brokers and result backends


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"broker_url": "memory://"}, "memory://"),
        ({"broker_url": ["memory://"]}, "memory://"),
        ({"broker_transport": "memory"}, "memory://"),
        ({"broker_url": "sqs://", "broker_transport_options": {"region": "eu-west-1"}}, "sqs://"),
        ({"broker_url": "sqs://eu-west-1/shop-"}, "sqs://eu-west-1/shop-"),
        ({"broker_url": "gcpubsub://projects/my-project"}, "pubsub://my-project"),
        ({"broker_url": "pubsub://my-project/shop-"}, "pubsub://my-project/shop-"),
        ({"broker_url": "sqlite:///tasks.db"}, "sqlite:///tasks.db"),
        ({"broker_read_url": "memory://", "broker_write_url": "memory://"}, "memory://"),
    ],
)
def test_broker_is_native(given: dict[str, Any], url: str) -> None:
    found = made(**given)
    assert found["broker"] == url
    BROKERS.open(url, found.get("broker_transport_options", {}))


_CELERYS_LAYOUT = {"layout": "celery"}


@pytest.mark.parametrize(
    ("given", "url", "options"),
    [
        ({"broker_url": "redis://:pw@h:6380/1"}, "redis://:pw@h:6380/1", _CELERYS_LAYOUT),
        ({"broker_transport": "redis"}, "redis://", _CELERYS_LAYOUT),
        ({"broker_url": "redis://a;redis://b"}, "redis://a;redis://b", _CELERYS_LAYOUT),
        (
            {"broker_url": ["redis://a", "redis://b"], "broker_failover_strategy": "shuffle"},
            "redis://a;redis://b",
            {"layout": "celery", "failover_strategy": "shuffle"},
        ),
        (
            {"broker_url": "redis://h/0", "broker_transport_options": {"layout": "taskq"}},
            "redis://h/0",
            {"layout": "taskq"},
        ),
        (
            {
                "broker_url": "redis://h/0",
                "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"},
            },
            "rediss://h/0?ssl_cert_reqs=required&ssl_ca_certs=%2Fca.pem",
            _CELERYS_LAYOUT,
        ),
        ({"broker_url": "rediss://h?ssl_cert_reqs=none"}, "rediss://h?ssl_cert_reqs=none", _CELERYS_LAYOUT),
        (
            {"broker_url": "sentinel://a;sentinel://b", "broker_transport_options": {"master_name": "m"}},
            "sentinel://a;sentinel://b",
            {"layout": "celery", "master_name": "m"},
        ),
        ({"broker_url": "amqp://u:p@h:5672//"}, "amqp://u:p@h:5672/", {}),
        ({"broker_url": "pyamqp://h/shop"}, "amqp://h/shop", {}),
        ({"broker_url": "amqp://"}, "amqp://", {}),
        ({"broker_url": "amqp://h", "broker_use_ssl": True}, "amqps://h", {}),
        (
            {
                "broker_url": "amqp://h",
                "broker_heartbeat": 30,
                "broker_login_method": "AMQPLAIN",
                "task_create_missing_queue_type": "quorum",
            },
            "amqp://h",
            {"heartbeat": 30, "login_method": "PLAIN", "queue_type": "quorum"},
        ),
        (
            {"broker_url": "amqp://h", "task_default_queue": "work", "task_default_queue_type": "quorum"},
            "amqp://h",
            {"queue_type": "classic", "queue_arguments": {"work": {"x-queue-type": "quorum"}}},
        ),
        (
            {
                "broker_url": "amqp://h",
                "task_queues": [
                    Queue("a", Exchange("a", "topic"), max_priority=5, message_ttl=1.5),
                    Queue("b", Exchange("all", "direct"), queue_arguments={"x-queue-type": "quorum"}),
                ],
            },
            "amqp://h",
            {
                "exchange_type": "topic",
                "queue_arguments": {
                    "a": {"x-max-priority": 5, "x-message-ttl": 1500},
                    "b": {"x-queue-type": "quorum"},
                },
            },
        ),
        (
            {
                "broker_url": "amqp://h",
                "task_queues": {
                    "a": {"exchange": "a", "exchange_type": "topic", "queue_arguments": {"x-max-length": 9}}
                },
            },
            "amqp://h",
            {"exchange_type": "topic", "queue_arguments": {"a": {"x-max-length": 9}}},
        ),
        ({"broker_url": "postgresql://h/shop"}, "postgresql://h/shop", {}),
    ],
)
def test_broker_on_a_server_is_native(given: dict[str, Any], url: str, options: dict[str, Any]) -> None:
    found = made(**given)
    assert found["broker"] == url
    chosen = found.get("broker_transport_options", {})
    assert chosen.items() >= options.items()
    assert BROKERS.open(url, chosen).capabilities.shared_between_processes


@pytest.mark.parametrize(
    ("given", "levels", "options"),
    [
        ({"broker_url": "amqp://h"}, None, {"max_priority": 10}),
        ({"broker_url": "redis://h"}, None, {"layout": "celery"}),
        ({"broker_url": "redis://h", "broker_transport_options": {"layout": "taskq"}}, 10, {"layout": "taskq"}),
        ({"broker_url": "sqs://"}, 10, {}),
    ],
)
def test_priority_is_left_to_a_broker_that_orders_by_it(
    given: dict[str, Any], levels: int | None, options: dict[str, Any]
) -> None:
    """Otherwise a call of a high priority would go to a queue that no worker of Celery's serves."""
    found = made(task_queue_max_priority=10, **given)
    assert found.get("task_queue_max_priority") == levels
    assert found.get("broker_transport_options", {}).items() >= options.items()


def test_broker_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://")
    assert made(broker_url="amqp://")["broker"] == "memory://"


def test_options_of_kombus_pubsub_are_left_out() -> None:
    options = {"enable_exactly_once_delivery": True, "queue_name_prefix": "shop-"}
    found = made(broker_url="gcpubsub://projects/my-project", broker_transport_options=options)
    assert found["broker_transport_options"] == {"queue_name_prefix": "shop-"}


def _open(found: dict[str, Any]) -> None:
    BROKERS.open(found["broker"], found.get("broker_transport_options", {}))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        *(({"broker_url": url}, "is not supported; supported: sqs://") for url in ("qpid://u:hidden@h//", "etcd://h")),
        *(({"broker_url": url}, "sqlite:///path") for url in ("sqla+sqlite:///x.db", "filesystem://")),
        ({"broker_url": "localhost"}, "isn't a URL"),
        ({"broker_url": "sqs://;memory://"}, "keep one of them"),
        ({"broker_url": ["sqs://", "memory://"]}, "keep one of them"),
        ({"broker_url": "memory://", "broker_write_url": "sqs://"}, "set broker_url alone"),
        ({"broker_host": "hidden"}, "set broker_url instead"),
        ({"broker_url": "memory://", "broker_password": "hidden"}, "set broker_url instead"),
        ({"task_protocol": 1}, "version 2"),
        *(({"result_backend": url}, "supported: arangodb://") for url in ("consul://:hidden@h", "shop.Backend")),
        ({"result_backend": "cache", "cache_backend": "locmem://hidden:hidden@h"}, "supported: memory, memcached"),
        ({"result_backend": dict}, "supported: arangodb://"),
        ({"result_backend": "database"}, "has no URL of a database"),
        ({"result_backend": "cassandra"}, "needs cassandra_servers"),
        ({"result_backend": "mongodb://", "mongodb_backend_settings": 5}, "must be a dict"),
        (
            {"result_backend": "couchbase://h/b", "couchbase_backend_settings": {"bukket": "b"}},
            "unknown option 'bukket'",
        ),
        ({"broker_url": "redis://h", "broker_use_ssl": "yes"}, "broker_use_ssl is 'yes'"),
        ({"broker_url": "sentinel://h", "broker_use_ssl": True}, "without TLS"),
        ({"result_backend": "sentinel://h", "redis_backend_use_ssl": True}, "redis_backend_use_ssl is set"),
        ({"broker_url": "redis://h", "broker_use_ssl": {"ssl_ciphers": "x"}}, "unknown option 'ciphers'"),
        ({"broker_url": "amqp://a;redis://b"}, "several URLs"),
        ({"broker_url": "amqp://a;sqs://"}, "keep one of them"),
        ({"broker_url": "amqp://h", "broker_failover_strategy": list}, "round-robin"),
        ({"result_backend": "s3"}, "no bucket"),
        ({"result_backend": "s3", "s3_bucket": "b", "s3_access_key_id": "hidden"}, "remove the settings"),
        ({"result_backend": "s3", "s3_bucket": "b", "s3_base_path": "shop"}, "write 'shop/'"),
        ({"result_backend": "gs"}, "no bucket"),
        ({"result_backend": "azureblockblob://AccountName=a;AccountKey=hidden"}, "AZURE_STORAGE_CONNECTION_STRING"),
    ],
)
def test_setting_that_would_lose_messages_or_results_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=reason) as raised:
        _open(made(**given))
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        *(
            ({"result_backend": name}, "memory://")
            for name in ("cache+memory://", "cache+memory", "memory://", "cache")
        ),
        ({"result_backend": "cache", "cache_backend": "memory://"}, "memory://"),
        ({"result_backend": "cache", "cache_backend": "memcached://h:1;h:2/"}, "memcached://h:1;h:2/"),
        ({"result_backend": "cache+memcached://h:1/"}, "memcached://h:1/"),
        ({"result_backend": "redis"}, "redis://localhost:6379/0"),
        (
            {"result_backend": "redis", "redis_host": "h", "redis_port": 1, "redis_db": 2, "redis_password": "p@"},
            "redis://:p%40@h:1/2",
        ),
        ({"result_backend": "redis://h/1", "redis_host": "other"}, "redis://h:6379/1"),
        (
            {"result_backend": "redis://h", "redis_backend_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE}},
            "rediss://h:6379/0?ssl_cert_reqs=none",
        ),
        ({"result_backend": "celery.backends.redis:RedisBackend"}, "redis://localhost:6379/0"),
        ({"result_backend": "db+sqlite:///x.db"}, "db+sqlite:///x.db"),
        ({"result_backend": "database", "database_url": "sqlite:///x.db"}, "db+sqlite:///x.db"),
        ({"result_backend": "database+postgresql://h/x"}, "db+postgresql://h/x"),
        ({"result_backend": "mongodb://h:1/shop"}, "mongodb://h:1/shop"),
        (
            {
                "result_backend": "mongodb",
                "mongodb_backend_settings": {
                    "host": "h",
                    "port": 1,
                    "user": "u",
                    "password": "p",
                    "database": "shop",
                    "taskmeta_collection": "results",
                    "max_pool_size": 9,
                    "options": {"tls": True},
                },
            },
            "mongodb://u:p@h:1/shop?tls=true&maxPoolSize=9&collection=results",
        ),
        ({"result_backend": "filesystem:///var/results"}, "file:///var/results"),
        ({"result_backend": "file:///var/results"}, "file:///var/results"),
        ({"result_backend": "rpc://guest:guest@h/v"}, "rpc://guest:guest@h/v"),
        ({"result_backend": "django-db"}, "django-db://"),
        ({"result_backend": "django_celery_results.backends.DatabaseBackend"}, "django-db://"),
        (
            {"result_backend": "cosmosdbsql://:key@a.documents.azure.com"},
            "cosmosdbsql://:key@a.documents.azure.com/celerydb/celerycol",
        ),
        (
            {"result_backend": "couchbase://h/b", "couchbase_backend_settings": {"username": "u", "password": "p"}},
            "couchbase://u:p@h/b",
        ),
        (
            {"result_backend": "cassandra://", "cassandra_servers": ["a", "b"], "cassandra_keyspace": "shop"},
            "cassandra://a,b/shop",
        ),
        ({"result_backend": "arangodb://u:p@h:8529/db/coll"}, "arangodb://u:p@h:8529/db/coll"),
        (
            {
                "result_backend": "arangodb://",
                "arangodb_backend_settings": {
                    "host": "h",
                    "port": 1,
                    "username": "u",
                    "password": "p",
                    "database": "db",
                    "collection": "coll",
                    "http_protocol": "https",
                    "verify": False,
                },
            },
            "arangodb://u:p@h:1/db/coll?tls=true&verify=false",
        ),
        ({"result_backend": "redis+socket:///r", "redis_backend_use_ssl": True}, "redis+socket:///r"),
        (
            {"result_backend": "redis://a/1;redis://b/1", "redis_password": "p", "redis_backend_use_ssl": True},
            "rediss://:p@a:6379/1;rediss://:p@b:6379/1",
        ),
        ({"result_backend": "elasticsearch://h:9200/index/type"}, "elasticsearch://h:9200/index/type"),
        ({"result_backend": "celery.backends.cache:CacheBackend"}, "memory://"),
        ({"result_backend": "taskq_cloud.celery.backends.base.DisabledBackend"}, "disabled://"),
        ({"result_backend": DisabledBackend}, "disabled://"),
        *(({"result_backend": name}, "disabled://") for name in ("disabled", "disabled://")),
        ({"result_backend": "dynamodb://@eu-west-1/shop"}, "dynamodb://@eu-west-1/shop?key_format=celery"),
        ({"result_backend": "dynamodb://@eu-west-1"}, "dynamodb://@eu-west-1?key_format=celery"),
        ({"result_backend": "dynamodb://eu-west-1"}, "dynamodb://@eu-west-1?key_format=celery"),
        ({"result_backend": "dynamodb"}, "dynamodb://celery?key_format=celery"),
        (
            {"result_backend": "dynamodb://@eu-west-1/tab?read=5&ttl_seconds=9", "dynamodb_endpoint_url": "http://h:1"},
            "dynamodb://@eu-west-1/tab?key_format=celery&read=5&endpoint_url=http%3A%2F%2Fh%3A1",
        ),
        ({"result_backend": "dynamodb://shop?key_format=plain"}, "dynamodb://shop?key_format=plain"),
        ({"result_backend": "s3", "s3_bucket": "shop", "s3_base_path": "a/b/"}, "s3://shop/a/b"),
        (
            {"result_backend": "s3://", "s3_bucket": "shop", "s3_region": "eu-west-1", "s3_endpoint_url": "http://h"},
            "s3://shop?region=eu-west-1&endpoint_url=http%3A%2F%2Fh",
        ),
        ({"result_backend": "s3://other/prefix", "s3_bucket": "shop"}, "s3://other/prefix"),
        (
            {"result_backend": "gs", "gcs_bucket": "shop", "gcs_base_path": "/a/", "gcs_project": "p"},
            "gs://shop/a?project=p",
        ),
        ({"result_backend": "gs://other/x?gcs_project=p", "gcs_bucket": "shop"}, "gs://other/x?project=p"),
        (
            {
                "result_backend": "azureblockblob://DefaultAzureCredential@https://shop.blob.core.windows.net",
                "azureblockblob_base_path": "a/",
            },
            "azureblob://celery/a?account_url=https%3A%2F%2Fshop.blob.core.windows.net",
        ),
        ({"result_backend": "azureblockblob://other/prefix"}, "azureblob://other/prefix"),
        ({"result_backend": "sqlite:///results.db"}, "sqlite:///results.db"),
    ],
)
def test_result_backend_is_native(given: dict[str, Any], url: str) -> None:
    assert made(**given)["results"] == url
    if not url.startswith("azureblob"):
        STORES.open(url, {"broker_url": "amqp://h"} if url.startswith("rpc") else {})


def test_connection_string_of_azure_may_be_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey=b")
    assert made(result_backend="azureblockblob://AccountName=a;AccountKey=b")["results"] == "azureblob://celery"


@pytest.mark.parametrize("variable", ["TASKQ_RESULTS", "TASKQ_RESULT_BACKEND"])
def test_store_of_the_environment_replaces_the_disabled_backend(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "memory://")
    assert "results" not in made(broker_url="memory://")
    assert TaskQ("shop", **made(broker_url="memory://")).conf.results_url() == "memory://"


def test_store_in_a_file_of_variables_replaces_the_disabled_backend(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TASKQ_RESULTS=memory://\n")
    assert "results" not in made()


def test_result_backend_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "cache+memory://")
    assert made(result_backend="rpc://")["results"] == "memory://"


# -- warnings


def test_setting_without_effect_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        made(worker_agent="shop:Agent")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("taskq_cloud.celery", logging.WARNING)
    assert record.getMessage().startswith("The setting worker_agent has no effect: The worker has other parts")


@pytest.mark.parametrize(
    "given",
    [
        {name: DEFAULTS[name] for name in DEFAULTS},
        {"broker_heartbeat": 0, "worker_enable_remote_control": False, "task_routes": {"a": "b"}, "own": 1},
        {"broker_use_ssl": True, "result_accept_content": ["json"], "worker_deduplicate_successful_tasks": True},
        {"task_acks_late": True, "report_to": "me", "worker_shutdown_timeout": 3},
    ],
)
def test_usual_configuration_is_not_warned_of(given: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    made(**given)
    assert not caplog.records


@pytest.mark.parametrize(
    ("given", "prefix", "text"),
    [
        ({"task_routs": {}}, None, "The setting task_routs is unknown: did you mean task_routes?"),
        (
            {"CELERY_WORKER_POL": "solo"},
            "CELERY",
            "The setting CELERY_WORKER_POL is unknown: did you mean worker_pool?",
        ),
        ({"worker_prefetch_multiplier": 0}, None, "worker_prefetch_multiplier=0 is changed: The messages"),
    ],
)
def test_mistyped_or_changed_setting_is_warned_of(
    given: dict[str, Any], prefix: str | None, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    made(prefix, **given)
    assert [record.getMessage()[: len(text)] for record in caplog.records] == [text]
