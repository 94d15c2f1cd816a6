"""``Worker``: what events have said about a worker."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from time import time
from typing import Any, ClassVar

from taskq_cloud.celery.utils.functional import memoize
from taskq_cloud.celery.utils.log import get_logger

__all__ = ("HEARTBEAT_DRIFT_MAX", "HEARTBEAT_EXPIRE_WINDOW", "Worker", "heartbeat_expires")

HEARTBEAT_EXPIRE_WINDOW = 200
"""After how much of the time between two heartbeats a worker counts as offline, in percent."""
HEARTBEAT_DRIFT_MAX = 16
"""The seconds between the time of an event and its receipt above which clocks may differ."""

logger = get_logger("taskq_cloud.celery.events.state")
warn = logger.warning


@memoize(maxsize=1000, keyfun=lambda args, _: args[0])
def _warn_drift(hostname: str, drift: float, local_received: float, timestamp: float) -> None:
    """Warn that a worker's clock may be wrong: once for each worker."""
    warn(
        "the clock of %s may be wrong: its event came %s seconds off (sent %s, received %s); synchronise the clocks",
        hostname,
        drift,
        datetime.fromtimestamp(timestamp).astimezone(),
        datetime.fromtimestamp(local_received).astimezone(),
    )


def heartbeat_expires(
    timestamp: Any,
    freq: Any = 60,
    expire_window: float = HEARTBEAT_EXPIRE_WINDOW,
    Decimal: type[Decimal] = Decimal,
    float: type[float] = float,
    isinstance: Callable[..., bool] = isinstance,
) -> Any:
    """Return the time from which a worker counts as offline.

    Args:
        timestamp: the time of its last heartbeat.
        freq: the seconds between two heartbeats.
        expire_window: after how much of ``freq`` it counts as offline, in percent.
        Decimal: the class of numbers that are turned into ``float`` first: some JSON decoders make them.
        float: makes such a number one that can be added to others.
        isinstance: tells such numbers from others.
    """
    freq = float(freq) if isinstance(freq, Decimal) else freq
    timestamp = float(timestamp) if isinstance(timestamp, Decimal) else timestamp
    return timestamp + freq * (expire_window / 1e2)


class Worker:
    """A worker.

    Args are the fields of its events.
    """

    heartbeat_max = 4
    """The number of heartbeats whose times are kept."""
    expire_window = HEARTBEAT_EXPIRE_WINDOW

    _fields: ClassVar[tuple[str, ...]] = (
        *("hostname", "pid", "freq", "heartbeats", "clock", "active", "processed", "loadavg"),
        *("sw_ident", "sw_ver", "sw_sys"),
    )
    __slots__ = (*_fields, "__dict__", "__weakref__")

    def __init__(
        self,
        hostname: str | None = None,
        pid: int | None = None,
        freq: Any = 60,
        heartbeats: list[float] | None = None,
        clock: int | None = 0,
        active: int | None = None,
        processed: int | None = None,
        loadavg: Any = None,
        sw_ident: str | None = None,
        sw_ver: str | None = None,
        sw_sys: str | None = None,
    ) -> None:
        self.hostname, self.pid, self.freq = hostname, pid, freq
        self.heartbeats = [] if heartbeats is None else heartbeats
        self.clock = clock or 0
        self.active, self.processed, self.loadavg = active, processed, loadavg
        self.sw_ident, self.sw_ver, self.sw_sys = sw_ident, sw_ver, sw_sys

    def __eq__(self, other: object) -> bool:
        return self.hostname == other.hostname if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self._fields)

    def event(
        self,
        type_: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
        max_drift: float = HEARTBEAT_DRIFT_MAX,
        **_: Any,
    ) -> None:
        """Take over what an event says; all but ``offline`` are heartbeats.

        Args:
            type_: the event's type without its group.
            timestamp: its time.
            local_received: when it was received.
            fields: the event.
            max_drift: the seconds between the two times above which a warning is logged.
        """
        self.update(fields or {})
        if type_ == "offline":
            self.heartbeats.clear()
            return
        if not local_received or not timestamp:
            return
        drift = abs(int(local_received) - int(timestamp))
        if drift > max_drift:
            _warn_drift(self.hostname, drift, local_received, timestamp)
        if len(self.heartbeats) >= self.heartbeat_max:
            del self.heartbeats[0]
        bisect.insort(self.heartbeats, local_received)

    def update(self, f: Mapping[str, Any], **kw: Any) -> None:
        """Set attributes."""
        for name, value in {**f, **kw}.items():
            setattr(self, name, value)

    @property
    def status_string(self) -> str:
        """``ONLINE`` or ``OFFLINE``."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def heartbeat_expires(self) -> Any:
        """The time from which the worker counts as offline."""
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    @property
    def alive(self) -> bool:
        """Whether the worker counts as online."""
        return bool(self.heartbeats and time() < self.heartbeat_expires)

    @property
    def id(self) -> str:
        """The worker's name and the id of its process."""
        return f"{self.hostname}.{self.pid}"
