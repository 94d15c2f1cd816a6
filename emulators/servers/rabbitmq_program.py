"""Run RabbitMQ with a node, ports and folders of its own, until this process is told to end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from emulators.ports import free_port
from emulators.servers.program import Arguments, run_until_told, serving

_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"


def main(given: Arguments) -> int:
    folder, epmd_port = given.folder, free_port()
    environment = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"taskq{given.port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(given.port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
    }
    (folder / "enabled_plugins").write_text("[].\n")
    (folder / "epmd_port").write_text(str(epmd_port))  # for rabbitmqctl
    configuration = folder / "rabbitmq.conf"
    if not configuration.exists():
        configuration.write_text("log.console.level = error\nloopback_users.guest = true\n")
    try:
        return run_until_told([_PROGRAM], environment, {"cwd": folder})  # where it leaves dumps
    finally:
        subprocess.run(["epmd", "-port", str(epmd_port), "-kill"], env=environment, capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(serving(main))
