"""Run PostgreSQL with a database cluster of its own, in which ``taskq`` is a superuser, until told to end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from emulators.servers.program import Arguments, run_until_told, serving, unprivileged


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
    return run_until_told([str(programs / "postgres"), "-D", str(data), "-p", str(given.port)], dict(os.environ), user)


if __name__ == "__main__":
    sys.exit(serving(main))
