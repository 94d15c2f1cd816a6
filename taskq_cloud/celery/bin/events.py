"""The command ``events``, which is not supported."""

from taskq_cloud.celery.bin.refusing import refusing_command

__all__ = ("events",)

events = refusing_command(
    "events",
    short_help="Not supported: workers send no events yet.",
    reason="workers send no events yet; `taskq queues`, `taskq result --tree` and the log show what happens",
)
