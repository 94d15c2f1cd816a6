"""Run PostgreSQL with a database cluster of its own, in which ``taskq`` is a superuser, until told to end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from emulators.servers.program import Arguments, run_until_told, serving, unprivileged

KILLED_TIMEOUT_SECONDS = 10.0


def _forget_killed_server(lock: Path) -> None:
    """Wait until the processes of a killed server have ended, and remove the lock file that it has left."""
    if not lock.exists():
        return
    _, segment = lock.read_text().splitlines()[6].split()  # the key and the number of its shared memory
    deadline = time.monotonic() + KILLED_TIMEOUT_SECONDS
    while _attached(segment) and time.monotonic() < deadline:
        time.sleep(0.01)
    lock.unlink()


def _attached(segment: str) -> bool:
    """Whether a process is attached to a segment of shared memory: the seventh column of Linux's table."""
    rows = (line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines())
    return any(row[1] == segment and row[6] != "0" for row in rows)


def main(given: Arguments) -> int:
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name))
    data = given.folder / "data"
    # PostgreSQL refuses to run as root.
    user: dict[str, Any] = unprivileged("postgres", given.folder)
    if not data.exists():
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "taskq", "--auth=trust", "--encoding=UTF8", "--no-locale", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=given.folder,
            **user,
        )
        (data / "postgresql.auto.conf").write_text(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 300\n"
            "shared_buffers = 64MB\nautovacuum_naptime = 10\n"
        )
    _forget_killed_server(data / "postmaster.pid")
    return run_until_told([str(programs / "postgres"), "-D", str(data), "-p", str(given.port)], dict(os.environ), user)


if __name__ == "__main__":
    sys.exit(serving(main))
