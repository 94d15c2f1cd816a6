"""The check for the privileges of root: ``check_privileges``."""

import os
import warnings
from typing import Any, Final

from taskq_cloud.celery.exceptions import SecurityError, SecurityWarning
from taskq_cloud.celery.local import try_import

__all__ = ("check_privileges",)

pwd: Any = try_import("pwd")
grp: Any = try_import("grp")

_ROOT_MESSAGE: Final = (
    "this program has the privileges of root, and reads pickle, by which whoever can send a message runs any code: "
    "run it as another user (--uid), or set the environment variable C_FORCE_ROOT\n"
    "User information: uid={uid} euid={euid} gid={gid} egid={egid}"
)
_ROOT_WARNING: Final = (
    "this program runs with the privileges of root: run it as another user (--uid)\n"
    "User information: uid={uid} euid={euid} gid={gid} egid={egid}"
)
_NO_GROUP: Final = "the group of this process has no name, so the process is taken for one with the privileges of root"


def check_privileges(accept_content: Any) -> None:
    """Warn if the process has the privileges of root.

    Args:
        accept_content: the serializers of messages that the process reads.

    Raises:
        SecurityError: it has these privileges and reads pickle, and the variable C_FORCE_ROOT isn't set.
    """
    if grp is None or pwd is None:
        return
    of_process = ("getuid", "getgid", "geteuid", "getegid")
    known = {name: getattr(os, name)() if hasattr(os, name) else 65535 for name in of_process}
    if hasattr(os, "fchown") and not all(hasattr(os, name) for name in of_process):
        raise SecurityError("suspicious platform, contact support")
    about = {name.removeprefix("get"): number for name, number in known.items()}
    risky = "pickle" in accept_content or "application/group-python-serialize" in accept_content
    try:
        groups = {grp.getgrgid(about["gid"])[0], grp.getgrgid(about["egid"])[0]}
    except KeyError:
        warnings.warn(SecurityWarning(_NO_GROUP), stacklevel=2)
        _warn_or_raise_security_error(pickle_or_serialize=risky, **about)
        return
    if 0 in (about["uid"], about["euid"]) or groups & {"sudo", "wheel"}:
        _warn_or_raise_security_error(pickle_or_serialize=risky, **about)


def _warn_or_raise_security_error(egid: int, euid: int, gid: int, uid: int, pickle_or_serialize: bool) -> None:
    about = {"uid": uid, "euid": euid, "gid": gid, "egid": egid}
    if pickle_or_serialize and not os.environ.get("C_FORCE_ROOT"):
        raise SecurityError(_ROOT_MESSAGE.format(**about))
    warnings.warn(SecurityWarning(_ROOT_WARNING.format(**about)), stacklevel=3)
