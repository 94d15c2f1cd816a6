"""The command ``amqp``, which is not supported."""

from taskq_cloud.celery.bin.refusing import refusing_command

__all__ = ("amqp",)

amqp = refusing_command(
    "amqp",
    short_help="Not supported: there is no AMQP broker.",
    reason="there is no AMQP broker; `taskq queues` counts messages and `taskq purge` deletes them",
)
