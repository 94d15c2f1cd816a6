"""Daemons: ``DaemonContext``."""

import os
import sys
from collections.abc import Callable
from typing import Any, Final, Self

from taskq_cloud.celery.local import try_import

from ._files import close_open_fds, fd_by_path, maybe_fileno

__all__ = ("DAEMON_WORKDIR", "DaemonContext")

DAEMON_WORKDIR: Final = "/"
mputil: Any = try_import("multiprocessing.util")


class DaemonContext:
    """Turns this process into a daemon, in a ``with`` statement.

    Args:
        pidfile: has no effect: the daemon writes the file itself.
        workdir: the working directory.
        umask: the mask of new files' permissions, as a number or as text.
        fake: leave the process in the foreground.
        after_chdir: is called in the working directory.
        after_forkers: call what ``multiprocessing`` calls in a new process.
        kwargs: have no effect.
    """

    _is_open = False

    def __init__(
        self,
        pidfile: str | None = None,
        workdir: str | None = None,
        umask: Any = None,
        fake: bool = False,
        after_chdir: Callable[[], Any] | None = None,
        after_forkers: bool = True,
        **kwargs: Any,
    ) -> None:
        if isinstance(umask, str):
            umask = int(umask, 8 if umask.startswith("0") else 10)
        self.workdir = workdir or DAEMON_WORKDIR
        self.umask, self.fake = umask, fake
        self.after_chdir, self.after_forkers = after_chdir, after_forkers
        self.stdfds = (sys.stdin, sys.stdout, sys.stderr)

    def redirect_to_null(self, fd: int | None) -> None:
        """Have an open file read nothing, and what is written to it be lost."""
        if fd is not None:
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)

    def open(self) -> None:
        """Become a daemon, unless the process is one already."""
        if self._is_open:
            return
        if not self.fake:
            self._detach()
        os.chdir(self.workdir)
        if self.umask is not None:
            os.umask(self.umask)
        if self.after_chdir:
            self.after_chdir()
        if not self.fake:
            self._give_up_files()
        self._is_open = True

    def __enter__(self) -> None:
        self.open()

    def close(self, *args: Any) -> None:
        """Let ``open`` act again."""
        self._is_open = False

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _give_up_files(self) -> None:
        # Random numbers may be read from a file that was opened at the import of a module.
        close_open_fds([*self.stdfds, *fd_by_path(["/dev/urandom"])])
        for file in self.stdfds:
            self.redirect_to_null(maybe_fileno(file))
        if self.after_forkers and mputil is not None:
            mputil._run_after_forkers()

    def _detach(self) -> Self:
        """Go on in a grandchild of this process, which belongs to no terminal."""
        if os.fork():
            os._exit(0)
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        return self
