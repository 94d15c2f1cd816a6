"""The tasks: shared ones, with a base class, retries, a chord, and a signal."""

from typing import Any

from news.feeds import FEEDS, FeedDown, download
from taskq_cloud.celery import Task, chord, shared_task
from taskq_cloud.celery.signals import task_failure
from taskq_cloud.celery.utils.log import get_task_logger

logger = get_task_logger(__name__)


class FeedTask(Task):  # type: ignore[misc]  # taskq_cloud.celery loads its names when they are used
    """Retries while a feed is down."""

    autoretry_for = (FeedDown,)
    max_retries = 3
    retry_backoff = True

    def on_success(self, retval: list[str], task_id: str, args: tuple[str], kwargs: dict[str, Any]) -> None:
        logger.info("%s has %d headlines", args[0], len(retval))


@shared_task(bind=True, base=FeedTask, rate_limit="600/m")
def fetch(self: Any, feed: str) -> list[str]:
    return download(feed, attempt=self.request.retries)


@shared_task
def digest(feeds: list[list[str]]) -> str:
    return "; ".join(sorted(headline for feed in feeds for headline in feed))


@shared_task(bind=True)
def digest_of(self: Any, feeds: list[str]) -> None:
    """Become a chord: the result of this task is the digest."""
    raise self.replace(chord([fetch.s(feed) for feed in feeds], digest.s()))


@task_failure.connect
def report(sender: Any, task_id: str, exception: Exception, **_: Any) -> None:
    logger.error("%s[%s] has failed: %r; known feeds are %s", sender.name, task_id, exception, ", ".join(FEEDS))
