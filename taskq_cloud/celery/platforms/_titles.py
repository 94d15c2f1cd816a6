"""The title of a process, and its end with that of its parent."""

import ctypes
import errno
import multiprocessing
import os
from typing import Any

from taskq_cloud.celery.local import try_import

from ._signals import Signals

__all__ = ("set_mp_process_title", "set_pdeathsig", "set_process_title")

_setproctitle: Any = try_import("setproctitle")
current_process = multiprocessing.current_process
signals = Signals()


def _set_pdeathsig(number: int) -> None:
    """Have a signal sent to this process when its parent ends: see prctl(2), PR_SET_PDEATHSIG."""
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is None or prctl(1, number) != 0:
        raise OSError(ctypes.get_errno() or errno.ENOSYS, "the system has no signal for the end of a parent")


def set_pdeathsig(name: Any) -> None:
    """End this process when its parent ends, where the system can do it."""
    if signals.supported("SIGKILL"):
        try:
            _set_pdeathsig(signals.signum("SIGKILL"))
        except OSError:
            return


def set_process_title(progname: str, info: str | None = None) -> str:
    """Set the title of this process, if the package ``setproctitle`` is installed, and return it.

    Args:
        progname: the program's name.
        info: more text.
    """
    title = f"[{progname}] {info}" if info else f"[{progname}]"
    if _setproctitle:
        _setproctitle.setproctitle(title)
    return title


def set_mp_process_title(progname: str, info: str | None = None, hostname: str | None = None) -> str | None:
    """Set the title of this process with its name in ``multiprocessing``; not if NOSETPS is in the environment.

    Args:
        progname: the program's name.
        info: more text.
        hostname: the worker's name.
    """
    if os.environ.get("NOSETPS"):
        return None
    program = f"{progname}: {hostname}" if hostname else progname
    return set_process_title(f"{program}:{current_process().name}", info=info)
