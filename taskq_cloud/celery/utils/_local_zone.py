"""The time zone of this machine, as a ``ZoneInfo`` where the machine tells its name."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NAME_FILES = (Path("/etc/timezone"), Path("/var/db/zoneinfo"))
_ZONE_FILES = (Path("/etc/localtime"), Path("/usr/local/etc/localtime"))


def get_localzone() -> tzinfo | None:
    """Find the zone of this machine: the variable TZ, then the system's files.

    Returns:
        The zone; UTC if the machine doesn't say; None if its rules are known to the C library only.

    Raises:
        ZoneInfoNotFoundError: the variable TZ names an unknown zone.
    """
    name = os.environ.get("TZ", "").removeprefix(":")
    if name:
        return _of_variable(name)
    for file in _NAME_FILES:
        with suppress(OSError, ValueError, ZoneInfoNotFoundError):
            return ZoneInfo(file.read_text("utf-8").split("#")[0].split()[0])
    for file in _ZONE_FILES:
        zone = _of_file(file)
        if zone is not None:
            return zone
    return None if os.name == "nt" else UTC


def _of_variable(name: str) -> tzinfo | None:
    if Path(name).is_absolute():
        return _of_file(Path(name))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        if any(character.isdigit() or character == "," for character in name):
            return None  # A rule of POSIX, such as CET-1CEST.
        raise


def _of_file(file: Path) -> tzinfo | None:
    """The zone of a file of the zone database; its name is the end of the path that the file really has."""
    if not file.exists():
        return None
    parts = file.resolve().parts
    for begin in range(len(parts) - 1, 0, -1):
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):
            return ZoneInfo("/".join(parts[begin:]))
    try:
        with file.open("rb") as content:
            return ZoneInfo.from_file(content, key="local")
    except (ValueError, OSError):
        return None
