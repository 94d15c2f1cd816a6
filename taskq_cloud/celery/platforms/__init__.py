"""Processes of the system: signals, users, files of process ids, titles and daemons."""

import atexit
import errno
import os
import platform as _platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from taskq_cloud.celery.exceptions import SecurityError
from taskq_cloud.celery.local import try_import

from ._daemon import DAEMON_WORKDIR, DaemonContext
from ._files import (
    close_open_fds,
    fd_by_path,
    get_errno_name,
    get_fdmax,
    ignore_errno,
    maybe_fileno,
)
from ._pid_lock import PIDFILE_FLAGS, PIDFILE_MODE, PIDLOCKED, LockFailed, Pidfile
from ._privileges import check_privileges
from ._signals import SIGMAP, SIGNAMES, Signals
from ._titles import set_mp_process_title, set_pdeathsig, set_process_title

resource: Any = try_import("resource")
pwd: Any = try_import("pwd")
grp: Any = try_import("grp")

__all__ = (
    "DAEMON_WORKDIR",
    "EX_CANTCREAT",
    "EX_FAILURE",
    "EX_OK",
    "EX_UNAVAILABLE",
    "EX_USAGE",
    "IS_WINDOWS",
    "PIDFILE_FLAGS",
    "PIDFILE_MODE",
    "SIGMAP",
    "SIGNAMES",
    "SYSTEM",
    "DaemonContext",
    "IS_macOS",
    "LockFailed",
    "Pidfile",
    "check_privileges",
    "close_open_fds",
    "create_pidlock",
    "detached",
    "fd_by_path",
    "get_errno_name",
    "get_fdmax",
    "ignore_errno",
    "initgroups",
    "isatty",
    "maybe_drop_privileges",
    "maybe_fileno",
    "parse_gid",
    "parse_uid",
    "pyimplementation",
    "set_mp_process_title",
    "set_pdeathsig",
    "set_process_title",
    "setgid",
    "setgroups",
    "setuid",
    "signal_name",
    "signals",
)

EX_OK: Final = getattr(os, "EX_OK", 0)
EX_FAILURE: Final = 1
EX_UNAVAILABLE: Final = getattr(os, "EX_UNAVAILABLE", 69)
EX_USAGE: Final = getattr(os, "EX_USAGE", 64)
EX_CANTCREAT: Final = getattr(os, "EX_CANTCREAT", 73)

SYSTEM: Final = _platform.system()
IS_macOS: Final = SYSTEM == "Darwin"
IS_WINDOWS: Final = SYSTEM == "Windows"

PIDFile = Pidfile

signals = Signals()
get_signal = signals.signum
install_signal_handler = signals.__setitem__
reset_signal = signals.reset
ignore_signal = signals.ignore


def isatty(fh: Any) -> bool | None:
    """Return whether a file is a terminal; None if it is no file."""
    try:
        answer: bool = fh.isatty()
    except AttributeError:
        return None
    return answer


def pyimplementation() -> str:
    """Return the name of the Python implementation, such as ``CPython``."""
    return _platform.python_implementation()


def strargv(argv: Sequence[str]) -> str:
    """Return a command line without its program; Django's ``manage.py`` has another word for it."""
    return " ".join(argv[2 if "manage" in argv[0] else 1 :])


def signal_name(signum: int) -> str:
    """Return the name of a signal, without ``SIG``."""
    return SIGMAP[signum][3:]


# -- files of process ids


def create_pidlock(pidfile: str) -> Pidfile:
    """Write the id of this process to a file, which is removed at the end of the process.

    Args:
        pidfile: the path of the file.

    Raises:
        SystemExit: a process that runs has written the file.
    """
    lock = _create_pidlock(pidfile)
    atexit.register(lock.release)
    return lock


def _create_pidlock(pidfile: str) -> Pidfile:
    lock = Pidfile(pidfile)
    if lock.is_locked() and not lock.remove_if_stale():
        sys.stderr.write(PIDLOCKED.format(pidfile, lock.read_pid()) + "\n")
        raise SystemExit(EX_CANTCREAT)
    lock.acquire()
    return lock


def detached(
    logfile: str | None = None,
    pidfile: str | None = None,
    uid: Any = None,
    gid: Any = None,
    umask: Any = 0,
    workdir: str | None = None,
    fake: bool = False,
    **opts: Any,
) -> DaemonContext:
    """Give up privileges, and return the context in which this process is a daemon.

    Args:
        logfile: a file that must be writable.
        pidfile: a file that no running process may have written.
        uid: the user to become, by name or number.
        gid: the group to become.
        umask: the mask of new files' permissions.
        workdir: the working directory; None: it stays.
        fake: leave the process in the foreground.
        opts: have no effect.

    Raises:
        RuntimeError: the system has no daemons.
    """
    if not resource:
        raise RuntimeError("This platform does not support detach.")
    workdir = str(Path.cwd()) if workdir is None else workdir
    signals.reset("SIGCLD")
    maybe_drop_privileges(uid=uid, gid=gid)

    def check_files() -> None:
        if logfile:
            Path(logfile).open("a", encoding="utf-8").close()
        if pidfile:
            _create_pidlock(pidfile).release()

    return DaemonContext(umask=umask, workdir=workdir, fake=fake, after_chdir=check_files)


# -- users and groups


def parse_uid(uid: Any) -> int:
    """Return the number of a user.

    Args:
        uid: the number, or the user's name.

    Raises:
        KeyError: there is no such user.
    """
    try:
        return int(uid)
    except ValueError:
        try:
            number: int = pwd.getpwnam(uid).pw_uid
        except (AttributeError, KeyError):
            raise KeyError(f"User does not exist: {uid}") from None
        return number


def parse_gid(gid: Any) -> int:
    """Return the number of a group.

    Args:
        gid: the number, or the group's name.

    Raises:
        KeyError: there is no such group.
    """
    try:
        return int(gid)
    except ValueError:
        try:
            number: int = grp.getgrnam(gid).gr_gid
        except (AttributeError, KeyError):
            raise KeyError(f"Group does not exist: {gid}") from None
        return number


def _setgroups_hack(groups: Sequence[int]) -> None:
    """Set as many of the groups as the system takes."""
    left = list(groups)
    while True:
        try:
            return os.setgroups(left)
        except (ValueError, OSError) as error:
            too_many = isinstance(error, ValueError) or error.errno == errno.EINVAL
            if not too_many or len(left) <= 1:
                raise
            left.pop()


def setgroups(groups: Sequence[int]) -> None:
    """Set the groups of this process.

    Raises:
        OSError: the process may not have one of the groups.
    """
    try:
        most: int | None = os.sysconf("SC_NGROUPS_MAX")
    except Exception:  # the system doesn't say
        most = None
    try:
        _setgroups_hack(groups[:most])
    except OSError as error:
        if error.errno != errno.EPERM or any(group not in groups for group in os.getgroups()):
            raise


def initgroups(uid: int, gid: int) -> None:
    """Set the groups of this process to those of a user, and one more."""
    if not pwd:
        return
    name = pwd.getpwuid(uid)[0]
    if hasattr(os, "initgroups"):
        os.initgroups(name, gid)
    else:
        setgroups([group.gr_gid for group in grp.getgrall() if name in group.gr_mem])


def setgid(gid: Any) -> None:
    """Set the group of this process, by name or number."""
    os.setgid(parse_gid(gid))


def setuid(uid: Any) -> None:
    """Set the user of this process, by name or number."""
    os.setuid(parse_uid(uid))


def maybe_drop_privileges(uid: Any = None, gid: Any = None) -> None:
    """Become another user or group.

    Args:
        uid: the user; None: only the group is set.
        gid: the group; None: the user's own.

    Raises:
        SecurityError: the process still has the privileges of root.
    """
    if sys.platform == "win32":
        return
    if os.geteuid() and not os.getuid():
        raise SecurityError("contact support")
    uid, gid = uid and parse_uid(uid), gid and parse_gid(gid)
    if uid:
        _setuid(uid, gid)
    elif gid:
        setgid(gid)
    if uid and not os.getuid() and not os.geteuid():
        raise SecurityError("Still root uid after drop privileges!")
    if gid and not os.getgid() and not os.getegid():
        raise SecurityError("Still root gid after drop privileges!")


def _setuid(uid: int, gid: Any) -> None:
    if not gid and pwd:
        gid = pwd.getpwuid(uid).pw_gid
    # A user that isn't root can't change groups, and setgid may clear the list that initgroups sets.
    setgid(gid)
    initgroups(uid, gid)
    setuid(uid)
    try:
        setuid(0)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    else:
        raise SecurityError("non-root user able to restore privileges after setuid.")
