"""The file of a database: made for its user alone, not through a link, told from another in its place, and shrunk."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

OWN_FOLDER = ".taskq"
"""The folder of the local databases, which must not be a symbolic link either."""

PAGES_OF_A_STEP = 200
"""800 KB, which takes a few milliseconds."""
LEAST_FREE_PAGES = 2000
"""8 MB, which a file may keep for what comes next. A larger file may keep half of its size."""


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


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at a path from other files; None if there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def shrink(connection: sqlite3.Connection) -> bool:
    """Take a step to make the file smaller if most of it is free, and return whether nothing is left to do."""
    [free], [pages] = (connection.execute(f"PRAGMA {each}").fetchone() for each in ("freelist_count", "page_count"))
    if free < LEAST_FREE_PAGES or free * 2 < pages:
        return True
    with suppress(sqlite3.OperationalError):  # another connection writes; there are more calls to come
        # The statement frees one page for each time that it is stepped, and ``execute`` steps it once.
        connection.executescript(f"PRAGMA incremental_vacuum({PAGES_OF_A_STEP})")
    return False
