"""A file with the id of a running program, so that the program isn't started twice on a machine: ``Pidfile``."""

import errno
import os
import sys
from pathlib import Path
from typing import Any, Final, Self

from ._files import ignore_errno

__all__ = ("PIDFILE_FLAGS", "PIDFILE_MODE", "PIDLOCKED", "LockFailed", "Pidfile")

PIDFILE_FLAGS: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY
PIDFILE_MODE: Final = 0o644

PIDLOCKED: Final = "ERROR: Pidfile ({0}) already exists.\nSeems we're already running? (pid: {1})"


class LockFailed(Exception):
    """The file could not be written, or exists."""


class Pidfile:
    """The file of a program.

    Args:
        path: its path.
    """

    path: Any = None

    def __init__(self, path: str) -> None:
        self.path = os.path.normpath(Path(path).absolute())

    def acquire(self) -> Self:
        """Write the file.

        Raises:
            LockFailed: it could not be written, or exists.
        """
        try:
            self.write_pid()
        except OSError as error:
            raise LockFailed(str(error)) from error
        return self

    __enter__ = acquire

    def is_locked(self) -> bool:
        """Return whether the file exists."""
        return Path(self.path).exists()

    def release(self, *args: Any) -> None:
        """Remove the file."""
        self.remove()

    __exit__ = release

    def read_pid(self) -> int | None:
        """Return the id in the file; None if there is no file.

        Raises:
            ValueError: the file isn't complete, or has something else.
        """
        line = None
        with ignore_errno("ENOENT"), Path(self.path).open(encoding="utf-8") as file:
            line = file.readline()
        if line is None:
            return None
        if line.strip() == line:
            raise ValueError(f"Partial or invalid pidfile {self.path}")
        try:
            return int(line.strip())
        except ValueError:
            raise ValueError(f"pidfile {self.path} contents invalid.") from None

    def remove(self) -> None:
        """Remove the file, if it exists and may be removed."""
        with ignore_errno(errno.ENOENT, errno.EACCES):
            Path(self.path).unlink()

    def remove_if_stale(self) -> bool:
        """Remove the file of a program that doesn't run any more, and return whether it was removed."""
        try:
            pid = self.read_pid()
        except ValueError:
            sys.stderr.write("Broken pidfile found - Removing it.\n")
            self.remove()
            return True
        # The first process of each container has the same id.
        if not pid or pid == os.getpid():
            self.remove()
            return True
        if _runs(pid):
            return False
        sys.stderr.write("Stale pidfile exists - Removing it.\n")
        self.remove()
        return True

    def write_pid(self) -> None:
        """Write the id of this process to a new file.

        Raises:
            LockFailed: another process has changed the file meanwhile.
        """
        content = f"{os.getpid()}\n"
        descriptor = os.open(self.path, PIDFILE_FLAGS, PIDFILE_MODE)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if Path(self.path).read_text(encoding="ascii") != content:
            raise LockFailed("Inconsistency: Pidfile content doesn't match at re-read")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno not in (errno.ESRCH, errno.EPERM)
    except SystemError:  # Windows
        return False
    return True
