"""Processes in the background: the options ``--detach``, ``--uid``, ``--gid`` and ``--umask``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

_DETACHING = frozenset({"--detach", "-D"})
_OF_USER = ("--uid", "--gid", "--umask")


def umask_of(value: Any) -> int | None:
    """Return a file mode mask: a number, or text in octal.

    Raises:
        BadParameter: the text isn't one.
    """
    if value is None or isinstance(value, int):
        return value
    try:
        return int(value, 8)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a mask in octal, such as 022") from error


def change_user(uid: Any, gid: Any, umask: int | None = None) -> None:
    """Let this process run as another user and group, and with another file mode mask.

    Args:
        uid: the user, by name or number; None: the process keeps it.
        gid: the group, by name or number; None: that of the user, if one is given.
        umask: the mask; None: the process keeps it.

    Raises:
        BadParameter: there is no such user or group, or the process may not become one.
    """
    if umask is not None:
        os.umask(umask)
    if uid is None and gid is None:
        return
    import grp  # only processes with these options need it, and Windows has none
    import pwd

    try:
        user = None if uid is None else pwd.getpwuid(int(uid)) if str(uid).isdigit() else pwd.getpwnam(uid)
        group = int(gid) if str(gid).isdigit() else grp.getgrnam(gid).gr_gid if gid else user.pw_gid if user else None
        if group is not None:
            os.setgid(group)
        if user is not None:
            os.initgroups(user.pw_name, group if group is not None else user.pw_gid)
            os.setuid(user.pw_uid)
    except KeyError as error:
        raise click.BadParameter(f"no such user or group: {error.args[0]}") from error
    except PermissionError as error:
        raise click.BadParameter(f"this process may not change its user to {uid!r} and its group to {gid!r}") from error


def detach(*, logfile: Any, uid: Any, gid: Any, umask: int | None, executable: Any = None) -> None:
    """Start this command line once more in the background, without ``--detach``.

    Its standard output and error go to the log file, so that an error before the log is set up is not lost.

    Args:
        logfile: the file; None: both outputs are dropped.
        uid: the user that the process runs as.
        gid: the group that the process runs as.
        umask: the file mode mask of the process.
        executable: the Python that it runs with; None: that of this process.
    """
    command = [executable or sys.executable, *_command_line()]
    owner: dict[str, Any] = {"user": _number(uid), "group": _number(gid)}
    owner = {name: value for name, value in owner.items() if value is not None}
    plain = logfile if logfile and "%" not in str(logfile) else os.devnull
    with Path(plain).open("a", encoding="utf-8") as output:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=-1 if umask is None else umask,
            **owner,
        )


def _command_line() -> list[str]:
    """Return the arguments of Python for this command line without the options that the new process must not have."""
    arguments: list[str] = []
    following = iter(sys.argv[1:])
    for each in following:
        if each in _DETACHING:
            continue
        if each in _OF_USER:
            next(following, None)
        elif not each.startswith(tuple(f"{name}=" for name in _OF_USER)):
            arguments.append(each)
    if arguments[:1] == ["celery"]:  # taskq celery ...
        arguments = arguments[1:]
    return ["-m", "taskq_cloud.celery", *arguments]


def _number(value: Any) -> Any:
    return int(value) if str(value).isdigit() else value
