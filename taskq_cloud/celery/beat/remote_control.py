"""Beat's answers to remote control. Our brokers have no messages to all processes, so that nobody can ask beat.

Celery does the same on its transports without such messages: it warns, and beat runs without remote control.
"""

from __future__ import annotations

import time
from typing import Any, Final

from taskq_cloud.celery.beat.scheduler import DEFAULT_MAX_INTERVAL, logger
from taskq_cloud.celery.utils.nodenames import default_nodename, host_format

NODENAME_DEFAULT: Final = "celerybeat"


def beat_nodename(hostname: str | None = None) -> str:
    """The node name of a beat process: ``celerybeat@host`` by default; ``%h``, ``%n`` and ``%d`` are expanded."""
    return host_format(default_nodename(hostname, NODENAME_DEFAULT))


class BeatPidbox:
    """The remote control of one beat process.

    Args:
        service: the service that the process runs.
    """

    min_tick_age = 60.0
    """The least value of ``max_tick_age`` that is derived from the scheduler's interval, in seconds."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.app = service.app
        self.hostname = beat_nodename(service.hostname)

    @property
    def max_tick_age(self) -> float:
        """The seconds after which a scheduler that has not looked at its schedule counts as stalled; 0: never."""
        configured: float | None = self.app.conf.beat_remote_control_max_tick_age
        if configured is not None:
            return configured
        interval = self.service.effective_max_interval or self.service.max_interval or DEFAULT_MAX_INTERVAL
        return max(interval * 2, self.min_tick_age)

    def tick_age(self) -> float | None:
        """The seconds since the scheduler last looked at its schedule; None: it has not yet."""
        last: float | None = self.service.last_tick
        return None if last is None else time.monotonic() - last

    def is_stale(self) -> bool:
        """Whether the scheduler is stalled."""
        age, limit = self.tick_age(), self.max_tick_age
        return bool(limit) and age is not None and age > limit

    def fanout_support(self) -> tuple[bool, str]:
        """Whether the broker can send a message to all processes, and the name of the transport."""
        return False, "taskq_cloud"

    def start(self) -> None:
        """Warn that the process can't be asked."""
        _, transport = self.fanout_support()
        logger.warning(
            "beat pidbox: the %s transport has no fanout exchanges, so remote control is unavailable.", transport
        )

    def stop(self) -> None:
        """Nothing is to be stopped."""
