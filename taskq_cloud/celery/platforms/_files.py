"""Open files of this process, and errors of the system by name."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = ("close_open_fds", "fd_by_path", "get_errno_name", "get_fdmax", "ignore_errno", "maybe_fileno")

_FD_DIR: Final = Path("/proc/self/fd" if sys.platform.startswith("linux") else "/dev/fd")
"""Has the numbers of the files that this process has open."""


def get_errno_name(n: Any) -> Any:
    """Return the number of an error that is given by its name, such as ``ENOENT``; a number is returned as it is."""
    return getattr(errno, n) if isinstance(n, str) else n


@contextmanager
def ignore_errno(*errnos: Any, **kwargs: Any) -> Iterator[None]:
    """Ignore errors of the system in a ``with`` block.

    Args:
        errnos: the names or numbers of the errors.
        kwargs: ``types``: the classes of exceptions that may be ignored; by default all.
    """
    ignored = {get_errno_name(each) for each in errnos}
    types = kwargs.get("types") or (Exception,)
    try:
        yield
    except types as error:
        if getattr(error, "errno", None) not in ignored:
            raise


def maybe_fileno(f: Any) -> int | None:
    """Return the number of an open file, which may be given as a number; None if it has none."""
    if isinstance(f, int):
        return f
    try:
        number: int = f.fileno()
    except (AttributeError, ValueError, OSError):
        return None
    return number


def get_fdmax(default: int | None = None) -> int | None:
    """Return the number of files that this process may have open; ``default``, if there is no limit."""
    try:
        return os.sysconf("SC_OPEN_MAX")
    except (AttributeError, OSError, ValueError):
        return default


def _open_fds() -> Iterable[int]:
    try:
        names = [each.name for each in _FD_DIR.iterdir()]
    except OSError:
        return range(get_fdmax(2048) or 2048)
    return sorted(int(name) for name in names if name.isdigit())


def _same_file(fd: int) -> Any:
    """Return what two numbers of one open file have in common; None if the file isn't open."""
    try:
        about = os.fstat(fd)
    except OSError:
        return None
    return about.st_ino, about.st_dev


def fd_by_path(paths: Iterable[str]) -> list[int]:
    """Return the numbers under which this process has files open.

    Args:
        paths: the paths of the files; those that can't be opened are left out.
    """
    files = set()
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            files.add(_same_file(fd))
        finally:
            os.close(fd)
    return [fd for fd in _open_fds() if _same_file(fd) in files]


def close_open_fds(keep: Iterable[Any] | None = None) -> None:
    """Close all open files of this process.

    Args:
        keep: the files, or their numbers, that stay open.
    """
    kept = {maybe_fileno(each) for each in keep or ()}
    for fd in _open_fds():
        if fd not in kept:
            with ignore_errno(errno.EBADF):
                os.close(fd)
