"""The command ``graph``, which is not supported."""

from taskq_cloud.celery.bin.refusing import refusing_command

__all__ = ("graph",)

graph = refusing_command(
    "graph",
    short_help="Not supported; see taskq topology.",
    reason="there is no graph of bootsteps; `taskq topology --format graph` draws the application's resources",
)
