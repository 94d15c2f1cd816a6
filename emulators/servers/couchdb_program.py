"""Run pouchdb-server, which speaks CouchDB's API, in a folder of its own, where it writes a log and settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from emulators.servers.program import Arguments, run_until_told, serving

_PROGRAM = Path(".emulators/node_modules/pouchdb-server/bin/pouchdb-server").absolute()


def main(given: Arguments) -> int:
    options = ["--in-memory", "--port", str(given.port), "--host", "127.0.0.1", "--no-stdout-logs"]
    return run_until_told(["node", str(_PROGRAM), *options], dict(os.environ), {"cwd": given.folder})


if __name__ == "__main__":
    sys.exit(serving(main))
