"""A file with the id of a running program, so that the program isn't started twice on a machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

_CANNOT_CREATE: Final = 73
"""The exit code EX_CANTCREAT of sysexits.h, which Celery's programs use here."""


@contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Keep the id of this process in a file; None: in none.

    Raises:
        SystemExit: another process, which runs, has written the file.
    """
    if path is None:
        yield
        return
    file = Path(path)
    running = _running_process(file)
    if running is not None:
        click.echo(f"ERROR: Pidfile ({path}) already exists.\nSeems we're already running? (pid: {running})", err=True)
        raise SystemExit(_CANNOT_CREATE)
    file.unlink(missing_ok=True)
    with file.open("x", encoding="ascii") as content:
        content.write(f"{os.getpid()}\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _running_process(file: Path) -> int | None:
    try:
        number = int(file.read_text("ascii"))
        os.kill(number, 0)
    except PermissionError:
        return number  # The process runs, and belongs to another user.
    except (OSError, ValueError):
        return None
    return None if number == os.getpid() else number
