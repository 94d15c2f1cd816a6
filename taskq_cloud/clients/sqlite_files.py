"""The file of a database: made for its user alone, not through a link, told from another in its place, and shrunk."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

OWN_FOLDER = ".taskq"
"""The folder of the local databases, which must not be a symbolic link either."""

PAGES_OF_A_STEP = 200
"""800 KB, which takes a few milliseconds."""
LEAST_FREE_PAGES = 2000
"""8 MB, which a file may keep for what comes next. A larger file may keep half of its size."""


CALLS_BETWEEN_CHECKS = 100
CALLS_BETWEEN_STEPS = 10
"""A file with too many free pages shrinks in steps, one after each so many calls."""


class LinkRefused(OSError):
    """A symbolic link is in place of the database's file or folder."""


def make_file(path: Path) -> None:
    """Create the file and its folder for this user alone, unless they exist, and refuse symbolic links.

    Raises:
        OSError: the file can't be created, or is a symbolic link.
    """
    folder = path.parent
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
    _check_no_link(path)
    if folder.name == OWN_FOLDER:
        _check_no_link(folder)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        _check_no_link(path)  # it may have been made since the first look


def _check_no_link(path: Path) -> None:
    if path.is_symlink():
        raise LinkRefused(
            f"{path} is a symbolic link, which is not followed, as somebody else may have made it: remove it, or name "
            f"the place that it leads to, {path.resolve()}"
        )


INCREMENTAL: Final = 2
"""The value of ``PRAGMA auto_vacuum`` for a file that can be made smaller in steps."""


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at a path from other files; None if there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def give(place: Path | int, mode: int, database: os.stat_result) -> None:
    """Give a file or folder its mode, whatever the umask is, and to the database's owner and group, as SQLite does.

    Args:
        place: its path, or the descriptor of a file.
        mode: the permissions.
        database: the status of the database's file.

    Raises:
        OSError: it is another user's.
    """
    os.chmod(place, mode)  # noqa: PTH101 - a descriptor
    owner = database.st_uid if os.geteuid() == 0 else -1  # what root makes is the database's owner's, too
    with suppress(OSError):
        os.chown(place, owner, database.st_gid)


class Shrinking:
    """Makes a file smaller, a step after some calls."""

    def __init__(self) -> None:
        self._calls_left = CALLS_BETWEEN_CHECKS

    def after_call(self, connection: sqlite3.Connection | None) -> None:
        """Take a step if it is time."""
        self._calls_left -= 1
        if self._calls_left <= 0 and connection is not None:
            self._calls_left = CALLS_BETWEEN_CHECKS if shrink(connection) else CALLS_BETWEEN_STEPS


def shrink(connection: sqlite3.Connection) -> bool:
    """Take a step to make the file smaller if most of it is free, and return whether nothing is left to do.

    A file that an earlier version has made can't be made smaller in steps. An error is left to the calls to come.
    """
    with suppress(sqlite3.Error):  # another connection writes, for the most part
        wanted = ("freelist_count", "page_count", "auto_vacuum")
        free, pages, in_steps = (connection.execute(f"PRAGMA {each}").fetchone()[0] for each in wanted)
        if free < LEAST_FREE_PAGES or free * 2 < pages or in_steps != INCREMENTAL:
            return True
        # The statement frees one page for each time that it is stepped, and ``execute`` steps it once.
        connection.executescript(f"PRAGMA incremental_vacuum({PAGES_OF_A_STEP})")
    return False
