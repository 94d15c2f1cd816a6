"""The task with which a test finds out whether its worker runs."""

from taskq_cloud.celery import shared_task

__all__ = ("ping",)


@shared_task(name="celery.ping")  # type: ignore[untyped-decorator]
def ping() -> str:
    """Return ``pong``."""
    return "pong"
