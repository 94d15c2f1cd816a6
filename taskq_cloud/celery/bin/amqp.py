"""The command ``amqp``, which is not supported."""

from taskq_cloud.celery.bin.refusing import refusing_command

__all__ = ("amqp",)

amqp = refusing_command(
    "amqp",
    short_help="Not supported; see taskq queues.",
    reason="it sends commands of AMQP by kombu; `taskq queues` counts messages and `taskq purge` deletes them",
)
