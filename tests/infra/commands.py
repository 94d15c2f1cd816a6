"""Commands of ``taskq`` on the applications of the examples, as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def command(*words: str) -> list[str]:
    """Return a command of ``taskq`` that a user runs in the folder of the application."""
    return [sys.executable, "-B", "-m", "taskq_cloud", "-A", "shop:app", *words]


def topology_of(folder: Path, **variables: str) -> Any:
    """Return the declaration of an example's application, made by the command that a user runs."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TASKQ_")}
    done = subprocess.run(
        command("topology"),
        cwd=folder,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def diagnose(folder: Path, *skip: str) -> list[str]:
    """Return the doctor's findings on the application of an example: check, resource and difference."""
    options = [word for each in skip for word in ("--skip", each)]
    done = subprocess.run(
        command("doctor", "--format", "json", *options),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    findings = json.loads(done.stdout)
    assert done.returncode == any(each["severity"] == "error" for each in findings)
    return [f"{each['check']} {each['resource']}: {each['difference']}" for each in findings]
