"""Imports a project's application in a process of its own, with ``taskq_cloud.celery`` in the place of ``celery``.

``python -m taskq_cloud.cli.migrate.configuration PATH`` is this process. It prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_TIMEOUT_SECONDS: Final = 60
_MARK: Final = "taskq-migrate:"


def import_application(path: str, folder: Path) -> dict[str, Any]:
    """Import an application, and return what it declares.

    Args:
        path: the application, such as ``shop.celery:app``.
        folder: the folder that it is imported from.

    Returns:
        ``tasks``: the number of tasks, ``settings``: the names of settings, and ``error``: why it can't be imported or
        configured, or None.
    """
    command = [sys.executable, "-m", "taskq_cloud.cli.migrate.configuration", path]
    package = str(Path(__file__).parents[3])
    paths = [str(folder), package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        ran = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"the import takes longer than {_TIMEOUT_SECONDS} s"}
    last = next((line for line in reversed(ran.stdout.splitlines()) if line.startswith(_MARK)), None)
    if last is None:
        reason = ran.stderr.strip().splitlines()
        return {"error": reason[-1] if reason else f"the process ended with exit code {ran.returncode}"}
    found: dict[str, Any] = json.loads(last.removeprefix(_MARK))
    return found


def _describe(path: str) -> dict[str, Any]:
    from taskq_cloud.bootstrap.loading import find_app

    app = find_app(path)
    owner = getattr(app, "owner", None)
    if owner is None:
        return {"error": f"{path} is not an application of Celery"}
    app.conf  # noqa: B018 - makes the native settings, or says why they can't be made
    tasks = [name for name in app.tasks if not name.startswith("celery.")]
    return {"error": None, "tasks": len(tasks), "settings": sorted(owner.conf.changes)}


def _main(path: str) -> None:
    from taskq_cloud.celery import alias

    alias.install()
    try:
        found = _describe(path)
    except Exception as error:  # noqa: BLE001 - the application's modules can raise anything
        found = {"error": f"{type(error).__name__}: {error}"}
    print(_MARK + json.dumps(found, default=repr))


if __name__ == "__main__":
    _main(sys.argv[1])
