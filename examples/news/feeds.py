"""Simulated feeds, which stand for your own services."""

FEEDS = {"world": ["Rain ends"], "science": ["Comet seen", "Salt found"]}


class FeedDown(OSError):
    """The feed doesn't answer now."""


def download(feed: str, attempt: int) -> list[str]:
    """Return the headlines of a feed. The feed ``science`` is down at the first attempt."""
    if feed == "science" and attempt == 0:
        raise FeedDown(feed)
    return FEEDS[feed]
