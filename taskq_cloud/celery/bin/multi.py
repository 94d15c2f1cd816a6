"""The command ``multi``, which is not supported."""

from taskq_cloud.celery.bin.refusing import refusing_command

__all__ = ("multi",)

multi = refusing_command(
    "multi",
    short_help="Not supported; see worker --detach.",
    reason="the platform starts and watches workers; `celery worker --detach` starts one in the background",
)
