"""The command ``migrate``, which is not supported."""

from taskq_cloud.celery.bin.refusing import refusing_command

__all__ = ("migrate",)

migrate = refusing_command(
    "migrate",
    short_help="Not supported; see taskq drain.",
    reason="it moves messages from broker to broker by kombu; `taskq migrate PATH` moves a project to taskq_cloud",
)
