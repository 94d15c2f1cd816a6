"""Looks at the state of workers and tasks at intervals: ``Polaroid``, from which a program derives its camera."""

from __future__ import annotations

import sys
import time
from typing import Any, ClassVar, Self

from taskq_cloud.celery import platforms
from taskq_cloud.celery._state import app_or_default
from taskq_cloud.celery.utils.dispatch import Signal
from taskq_cloud.celery.utils.imports import instantiate
from taskq_cloud.celery.utils.log import get_logger
from taskq_cloud.celery.utils.time import rate
from taskq_cloud.celery.utils.timer2 import Timer

__all__ = ("Polaroid", "evcam")

logger = get_logger("taskq_cloud.celery.evcam")


class TokenBucket:
    """Allows a number of things in a second, and one at once.

    Args:
        fill_rate: the number.
    """

    def __init__(self, fill_rate: float) -> None:
        self.fill_rate = float(fill_rate)
        self._tokens = 1.0
        self._counted_at = time.monotonic()

    def can_consume(self) -> bool:
        """Whether one thing is allowed now; if it is, the next is allowed later."""
        now = time.monotonic()
        self._tokens = min(1.0, self._tokens + self.fill_rate * (now - self._counted_at))
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Polaroid:
    """A camera. A derived class does something with each picture in ``on_shutter``.

    Args:
        state: the state.
        freq: the seconds between two pictures.
        maxrate: the number of pictures in a second that are allowed, also as text: ``10/m``; None: any number.
        cleanup_freq: the seconds between two calls of ``on_cleanup``.
        timer: the timer; None: a new one.
        app: the application.
    """

    timer: Any = None
    shutter_signal: ClassVar[Any] = Signal(name="shutter_signal", providing_args={"state"})
    cleanup_signal: ClassVar[Any] = Signal(name="cleanup_signal")
    clear_after = False
    """Whether the state forgets workers and ended tasks after a picture."""

    _tref: Any = None
    _ctref: Any = None

    def __init__(
        self,
        state: Any,
        freq: float = 1.0,
        maxrate: Any = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,
        app: Any = None,
    ) -> None:
        self.app = app_or_default(app)
        self.state = state
        self.freq, self.cleanup_freq = freq, cleanup_freq
        self.timer = timer or self.timer or Timer()
        self.logger = logger
        self.maxrate = maxrate and TokenBucket(rate(maxrate))

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()

    def install(self) -> None:
        """Begin to take pictures."""
        self._tref = self.timer.call_repeatedly(self.freq, self.capture)
        self._ctref = self.timer.call_repeatedly(self.cleanup_freq, self.cleanup)

    def on_shutter(self, state: Any) -> None:
        """Called with the state, for a picture; a derived class does something here."""

    def on_cleanup(self) -> None:
        """Called at intervals; a derived class may remove old pictures here."""

    def cleanup(self) -> None:
        """Send ``cleanup_signal``, and call ``on_cleanup``."""
        logger.debug("old pictures of the state are to be removed")
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def shutter(self) -> None:
        """Send ``shutter_signal``, and call ``on_shutter``, if another picture is allowed yet."""
        if self.maxrate is None or self.maxrate.can_consume():
            logger.debug("a picture is taken of %s", self.state)
            self.shutter_signal.send(sender=self.state)
            self.on_shutter(self.state)

    def capture(self) -> None:
        """Take a picture, while events wait."""
        self.state.freeze_while(self.shutter, clear_after=self.clear_after)

    def cancel(self) -> None:
        """Take a last picture, and then no more."""
        if self._tref:
            self._tref()
            self._tref.cancel()
        if self._ctref:
            self._ctref.cancel()


def evcam(
    camera: Any,
    freq: float = 1.0,
    maxrate: Any = None,
    loglevel: Any = 0,
    logfile: str | None = None,
    pidfile: str | None = None,
    timer: Any = None,
    app: Any = None,
    **kwargs: Any,
) -> None:
    """Receive events, and take pictures of their state.

    Args:
        camera: the class of the camera, or its path.
        freq: the seconds between two pictures.
        maxrate: the number of pictures in a second that are allowed.
        loglevel: the level of the log.
        logfile: the file of the log.
        pidfile: the file of this process's id.
        timer: the timer.
        app: the application.
        kwargs: have no effect.

    Raises:
        SystemExit: the program was interrupted.
        NotImplementedError: there is no transport for events yet.
    """
    app = app_or_default(app)
    if pidfile:
        platforms.create_pidlock(pidfile)
    app.log.setup_logging_subsystem(loglevel, logfile)
    sys.stdout.write(f"-> evcam: Taking snapshots with {camera} (every {freq} secs.)\n")
    state = app.events.State()
    cam = instantiate(camera, state, app=app, freq=freq, maxrate=maxrate, timer=timer)
    cam.install()
    connection = app.connection_for_read()
    try:
        app.events.Receiver(connection, handlers={"*": state.event}).capture(limit=None)
    except KeyboardInterrupt:
        raise SystemExit from None
    finally:
        cam.cancel()
        connection.close()
