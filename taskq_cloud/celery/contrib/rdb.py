"""A debugger for tasks in a worker, to which a terminal connects: ``rdb.set_trace()`` in a task.

The task waits until ``telnet`` has connected. The environment variables CELERY_RDB_HOST and CELERY_RDB_PORT name the
address; by default, only this machine can connect. Whoever connects can run any code in the worker.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import sys
from pdb import Pdb
from types import FrameType
from typing import Any, Final, Self

__all__ = ("CELERY_RDB_HOST", "CELERY_RDB_PORT", "DEFAULT_PORT", "Rdb", "debugger", "set_trace")

DEFAULT_PORT: Final = 6899
CELERY_RDB_HOST = os.environ.get("CELERY_RDB_HOST") or "127.0.0.1"
CELERY_RDB_PORT = int(os.environ.get("CELERY_RDB_PORT") or DEFAULT_PORT)

_current: list[Any] = [None]

current_process = multiprocessing.current_process


class Rdb(Pdb):
    """A session of the debugger, which waits for a terminal.

    Args:
        host: the address to listen on.
        port: the first port to try.
        port_search_limit: the number of ports to try.
        port_skew: is added to the port; in a process of a pool, the process's number is.
        out: the file that lines about the session are written to.
    """

    me = "Remote Debugger"
    _prev_outs: Any = None
    _sock: Any = None
    _client: Any = None
    _handle: Any = None

    def __init__(
        self,
        host: str = CELERY_RDB_HOST,
        port: int = CELERY_RDB_PORT,
        port_search_limit: int = 100,
        port_skew: int = +0,
        out: Any = sys.stdout,
    ) -> None:
        self.active = True
        self.out = out
        self._prev_handles = sys.stdin, sys.stdout
        self._sock, self.port = self.get_avail_port(host, port, port_search_limit, port_skew)
        self._sock.setblocking(1)
        self._sock.listen(1)
        self.host, self.ident = host, f"{self.me}:{self.port}"
        self.say(
            f"{self.ident}: Ready to connect: telnet {host} {self.port}\n\n"
            f"Type `exit` in session to continue.\n\n{self.ident}: Waiting for client...\n"
        )
        self._client, address = self._sock.accept()
        self._client.setblocking(1)
        self.remote_addr = ":".join(map(str, address))
        self.say(f"{self.ident}: Now in session with {self.remote_addr}.")
        self._handle = sys.stdin = sys.stdout = self._client.makefile("rw")
        super().__init__(completekey="tab", stdin=self._handle, stdout=self._handle)

    def get_avail_port(self, host: str, port: int, search_limit: int = 100, skew: int = +0) -> tuple[Any, int]:
        """Return a socket on a port that is free, and the port.

        Raises:
            RuntimeError: there is none.
        """
        _, dash, number = current_process().name.partition("-")
        skew = int(number) if dash and number.isdigit() else skew
        for each in range(port + skew, port + skew + search_limit):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                made.bind((host, each))
            except OSError as error:
                made.close()
                if error.errno not in (errno.EADDRINUSE, errno.EINVAL):
                    raise
            else:
                return made, each
        raise RuntimeError(
            f"{self.me}: Couldn't find an available port.\n\n"
            "Please specify one using the CELERY_RDB_PORT environment variable."
        )

    def say(self, m: str) -> None:
        """Write a line about the session."""
        self.out.write(f"{m}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close_session()

    def _close_session(self) -> None:
        self.stdin, self.stdout = sys.stdin, sys.stdout = self._prev_handles
        if not self.active:
            return
        for opened in (self._handle, self._client, self._sock):
            if opened is not None:
                opened.close()
        self.active = False
        self.say(f"{self.ident}: Session with {self.remote_addr} ended.")

    def do_continue(self, arg: str) -> bool:
        """Close the session, and let the task go on."""
        self._close_session()
        self.set_continue()
        return True

    do_c = do_cont = do_continue

    def do_quit(self, arg: str) -> bool:
        """Close the session, and let the task go on."""
        self._close_session()
        self.set_quit()
        return True

    do_q = do_exit = do_quit

    def set_quit(self) -> None:
        """Stop debugging, without an exception in the task."""
        sys.settrace(None)


def debugger() -> Rdb:
    """Return the session of this process; a new one, if there is none."""
    session: Rdb | None = _current[0]
    if session is None or not session.active:
        session = _current[0] = Rdb()
    return session


def set_trace(frame: FrameType | None = None) -> None:
    """Debug the function that calls this one, or the one of a frame."""
    debugger().set_trace(sys._getframe().f_back if frame is None else frame)
