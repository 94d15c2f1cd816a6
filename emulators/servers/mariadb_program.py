"""Run MariaDB with a data folder of its own, a database ``taskq`` and a user of that name, until told to end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from emulators.servers.program import Arguments, run_until_told, serving, unprivileged

_INITIAL = """
CREATE DATABASE IF NOT EXISTS taskq;
CREATE USER IF NOT EXISTS 'taskq'@'127.0.0.1' IDENTIFIED BY 'taskq';
GRANT ALL ON *.* TO 'taskq'@'127.0.0.1';
"""


def main(given: Arguments) -> int:
    folder = given.folder
    data, script = folder / "data", folder / "initial.sql"
    user: dict[str, Any] = unprivileged("mysql", folder)
    if not data.exists():
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        script.write_text(_INITIAL)
    command = [
        "mariadbd",
        "--no-defaults",
        f"--datadir={data}",
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'pid'}",
        f"--port={given.port}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--innodb-buffer-pool-size=64M",
        "--max-connections=300",
        f"--init-file={script}",
    ]
    return run_until_told(command, dict(os.environ), user)


if __name__ == "__main__":
    sys.exit(serving(main))
