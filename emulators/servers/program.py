"""What the programs beside this file share: their arguments, a folder for data, and the end of the server."""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a program is told: the port, and the folder for its data."""

    port: int
    folder: Path


def serving(main: Callable[[Arguments], int]) -> int:
    """Run a program with the arguments of the command line. A folder that wasn't given is removed at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
        return main(Arguments(given.port, given.folder))
    folder = Path(tempfile.mkdtemp(prefix="taskq-server-"))
    try:
        return main(Arguments(given.port, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged(name: str, folder: Path) -> dict[str, Any]:
    """The arguments by which ``subprocess`` runs a server that refuses to be root; the folder is given to its user."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam(name)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def run_until_told(
    command: Sequence[str], environment: Mapping[str, str], options: Mapping[str, Any] | None = None
) -> int:
    """Run a server until it ends or this process gets SIGTERM or SIGINT; the options are those of ``Popen``."""
    process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, **(options or {}))

    def end(number: int, frame: object) -> None:
        # PostgreSQL's fast shutdown is SIGINT; with SIGTERM it would wait for its clients.
        process.send_signal(signal.SIGINT if "postgres" in command[0] else signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return process.wait()
