"""The command ``logtool``, which is not supported."""

from taskq_cloud.celery.bin.refusing import refusing_command

__all__ = ("logtool",)

logtool = refusing_command(
    "logtool",
    short_help="Not supported; see --log-format json.",
    reason="the log has another form than Celery's; `taskq worker --log-format json` writes lines that tools can read",
)
