"""Rows of the table of settings for brokers, result stores and programs of an operating system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskq_cloud.celery.native._setting_kinds import OFF, ON, Setting, each, ignored, native, refused

_CREDENTIALS: Final = (
    "Credentials come from the environment, a profile or a role, as in every AWS SDK: remove the setting."
)


BROKERS: Final[Mapping[str, Setting]] = {
    "broker_url": native("The broker: see the brokers below. CELERY_BROKER_URL overrides it."),
    "broker_transport": native("The scheme of the broker's URL, if broker_url is not set."),
    "broker_transport_options": native("The broker's options: see the guides of the brokers."),
    **each(
        "broker_read_url broker_write_url",
        refused("An application sends to and receives from one broker: set broker_url alone."),
    ),
    **each(
        "broker_host broker_port broker_user broker_password broker_vhost",
        refused("The parts of a broker's address are in its URL: set broker_url instead.", bool),
    ),
    **each(
        "broker_connection_max_retries broker_connection_retry broker_connection_retry_on_startup "
        "broker_channel_error_retry broker_connection_timeout",
        ignored("Calls to the broker are repeated, by a worker without end, by a caller for service_timeout (10 s)."),
    ),
    "broker_failover_strategy": native("How the next of several servers of Redis or RabbitMQ is chosen."),
    "broker_heartbeat": native("The seconds between heartbeats on RabbitMQ. Other brokers have none.", quiet=(0, None)),
    "broker_heartbeat_checkrate": ignored("Heartbeats of RabbitMQ are checked by the client's own clock."),
    "broker_login_method": native("PLAIN or EXTERNAL, on RabbitMQ."),
    "broker_native_delayed_delivery_queue_type": native("The type of the queues that delay messages on RabbitMQ."),
    **each(
        "broker_pool_limit broker_pool_acquire_timeout",
        ignored("The clients of a process share as many connections as they need.", None),
    ),
    "broker_use_ssl": native(
        "TLS for Redis and RabbitMQ, with files as in Celery. Connections to cloud services are always encrypted."
    ),
}

STORES: Final[Mapping[str, Setting]] = {
    "cache_backend": native("The cache of the backend cache: memory or memcached."),
    "s3_bucket": native("The bucket of the backend s3."),
    "s3_base_path": native("The prefix of the backend s3; it ends with a slash."),
    "s3_endpoint_url": native("The endpoint of the backend s3."),
    "s3_region": native("The region of the backend s3."),
    **each("s3_access_key_id s3_secret_access_key", refused(_CREDENTIALS)),
    "azureblockblob_container_name": native("The container of the backend azureblockblob."),
    "azureblockblob_base_path": native("The prefix of the backend azureblockblob; it ends with a slash."),
    "gcs_bucket": native("The bucket of the backend gs."),
    "gcs_project": native("The project of the backend gs."),
    "gcs_base_path": native("The prefix of the backend gs."),
    "dynamodb_endpoint_url": native("The endpoint of the backend dynamodb."),
    "gcs_ttl": ignored("Results expire after result_expires; a lifecycle rule of the bucket removes them."),
    **each(
        "azureblockblob_connection_timeout azureblockblob_read_timeout azureblockblob_retry_increment_base "
        "azureblockblob_retry_initial_backoff_sec azureblockblob_retry_max_attempts",
        ignored("Calls to the store are repeated until service_timeout (10 s) or worker_patience is over."),
    ),
    "cache_backend_options": ignored("The stores of caches have no options."),
    **each(
        "cassandra_auth_kwargs cassandra_auth_provider cassandra_bundle_path cassandra_entry_ttl cassandra_keyspace "
        "cassandra_options cassandra_port cassandra_read_consistency cassandra_secure_bundle_path cassandra_servers "
        "cassandra_table cassandra_write_consistency",
        native("The cluster, keyspace and table of the backend cassandra, and how they are reached."),
    ),
    **each(
        "cosmosdbsql_collection_name cosmosdbsql_database_name",
        native("The database and container of the backend cosmosdbsql."),
    ),
    "cosmosdbsql_consistency_level": ignored("Documents are read and written by the account's consistency level."),
    **each(
        "database_create_tables_at_setup database_engine_callback database_engine_options "
        "database_short_lived_sessions database_table_names database_table_schemas database_url",
        native("The tables and SQLAlchemy's engine of the backend db+..."),
    ),
    **each(
        "cosmosdbsql_max_retry_attempts cosmosdbsql_max_retry_wait_time elasticsearch_max_retries "
        "elasticsearch_retry_on_timeout elasticsearch_timeout redis_retry_on_timeout redis_socket_connect_timeout "
        "redis_socket_timeout",
        ignored("Calls to the store are repeated until service_timeout (10 s) or worker_patience is over.", *OFF),
    ),
    "elasticsearch_save_meta_as_text": ignored("Documents hold results as texts.", *ON),
    **each(
        "redis_db redis_host redis_password redis_port redis_username",
        native("The parts that the URL of the backend redis lacks."),
    ),
    "redis_backend_use_ssl": native("TLS for the backend redis, with files as in Celery."),
    **each(
        "redis_backend_credential_provider redis_backend_health_check_interval redis_client_name "
        "redis_max_connections redis_socket_keepalive",
        ignored("The clients of a process share as many connections as they need.", *OFF),
    ),
    **each(
        "arangodb_backend_settings couchbase_backend_settings mongodb_backend_settings",
        native("The address, login and place of documents that the URL of the backend lacks."),
    ),
}

PROGRAMS: Final[Mapping[str, Setting]] = each(
    " ".join(
        f"{program}_{setting}"
        for program in ("beat", "events", "worker")
        for setting in ("executable", "gid", "logfile", "pidfile", "uid", "umask")
    ),
    ignored("Programs don't make daemons of themselves: the service manager or the container runs them, and logs."),
)
"""Settings of ``celery multi`` and ``--detach`` that are documented but have no defaults."""
