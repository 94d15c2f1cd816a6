"""Drives sessions over sockets in threads: whoever waits reads for all, and no thread is started.

A thread that isn't in a call reads nothing, so a connection here has no heartbeats; TCP's own probes find a server that
is gone. A connection that was closed meanwhile is noticed before it is used.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
import threading
import time
import weakref
from typing import Any, TypeVar

from taskq_cloud.clients.rabbitmq_session import LostError, Session, SessionError, Steps, Waiting
from taskq_cloud.clients.rabbitmq_settings import Settings

T = TypeVar("T")

_PIECE_BYTES = 262_144
_CLOSE_SECONDS = 1.0
_TRUSTED_SECONDS = 1.0
"""How long a connection that was read is taken to be open. If it isn't, its call fails as transient."""


class SocketConnection:
    """A connection that threads share.

    Args:
        settings: how it is made.
    """

    def __init__(self, settings: Settings) -> None:
        self.session = Session(settings, lingers=False)
        self._changed = threading.Condition()
        self._reading = False
        self._changing = False
        self._closes_at_exit = False
        self._heard_at = time.monotonic()
        self._socket: Any = socket.create_connection((settings.host, settings.port), settings.connect_seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if settings.tls is not None:
                self._socket = settings.tls.wrap_socket(self._socket, server_hostname=settings.host)
            self._socket.settimeout(settings.answer_seconds)
            self.run(self.session.open(settings.password, settings.connect_seconds))
        except BaseException:
            self._socket.close()
            raise

    def run(self, steps: Steps[T]) -> T:
        """Carry out an operation; raises its errors, and ``OSError``."""
        with self._changed:
            try:
                self._changing = True
                waiting, seconds = next(steps)
                while True:
                    self._flush()
                    waiting, seconds = steps.send(self._wait(waiting, seconds))
            except StopIteration as stop:
                self._flush()
                if self.session.unconfirmed is not None and not self._closes_at_exit:
                    self._close_at_exit()
                result: T = stop.value
                return result
            except LostError as error:
                self.session.fail(error)
                raise
            except SessionError:
                raise
            except BaseException as error:
                if self._changing:  # bytes that came or that are to be sent may be taken in half
                    self.session.fail(LostError(f"a call was ended by {type(error).__name__}"))
                raise
            finally:
                steps.close()
                self._changing = False
                self._changed.notify_all()

    def is_open(self) -> bool:
        """Whether the connection can be used: after a while, reads what the server has said since the last call."""
        now = time.monotonic()
        if self.session.lost is None and now - self._heard_at < _TRUSTED_SECONDS:
            return True
        self._heard_at = now
        with self._changed:
            while self.session.lost is None and not self._reading and self._is_readable(0):
                self._read()
            return self.session.lost is None

    def close(self) -> None:
        """Say goodbye and close the socket."""
        session = self.session
        seconds = _CLOSE_SECONDS if session.unconfirmed is None else session.settings.answer_seconds
        try:
            self.run(session.close_connection(seconds))
        except (SessionError, OSError):  # it may have been closed by the server for a reason of its own
            pass
        finally:
            self.session.fail(LostError("the connection is closed"))
            self._socket.close()

    def _close_at_exit(self) -> None:
        """Say goodbye when the process ends: RabbitMQ drops messages that it hasn't read when a connection breaks.

        The server has taken all messages once it answers. A message that it has confirmed needs no such answer.
        """
        self._closes_at_exit = True
        reference, process_id = weakref.ref(self), os.getpid()

        def close() -> None:
            connection = reference()
            if connection is not None and os.getpid() == process_id:  # a forked child has the same socket
                connection.close()

        atexit.register(close)

    def _wait(self, waiting: Waiting, seconds: float) -> bool:
        """Wait for an answer: one of the waiting threads reads, and wakes the others."""
        ends_at = time.monotonic() + seconds
        while not waiting.done:
            left = ends_at - time.monotonic()
            if left <= 0:
                return False
            self._changing = False
            if self._reading:
                self._changed.wait(left)
                self._changing = True
                continue
            self._reading = True
            self._changed.release()
            try:
                readable = self._is_readable(left)
            finally:
                self._changed.acquire()
                self._reading = False
            self._changing = True
            if readable:
                self._read()
            self._flush()
            self._changed.notify_all()
        return True

    def _is_readable(self, seconds: float) -> bool:
        if getattr(self._socket, "pending", lambda: 0)():
            return True
        if not hasattr(select, "poll"):  # on Windows, and with eventlet
            return bool(select.select([self._socket], [], [], seconds)[0])
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _read(self) -> None:
        try:
            data = self._socket.recv(_PIECE_BYTES)
        except OSError as error:
            self.session.fail(LostError(f"the connection broke: {error}"))
            raise
        if data:
            self._heard_at = time.monotonic()
            self.session.feed(data)
        else:
            self.session.fail(LostError("the server has closed the connection"))

    def _flush(self) -> None:
        session = self.session
        if not session.out:
            return
        data = b"".join(session.out)
        session.out.clear()
        try:
            self._socket.sendall(data)
        except BaseException as error:
            # A part of a frame may have gone, also if a time limit was raised here.
            session.fail(LostError(f"the connection broke: {error}"))
            raise
