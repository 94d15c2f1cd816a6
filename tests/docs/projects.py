"""Whole files on a page: blocks marked ``file``, whose first line is a comment with the file's path.

A page's files make a project, which a test writes into a folder and runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.samples import DOCS

ROOT = DOCS.parent
PYTEST = ("pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")
"""The command that runs a project's own tests."""

_TIMEOUT_SECONDS = 240
_FILE = re.compile(r"^```\w+ file\n(?:#|//) (?P<path>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(page: str) -> dict[str, str]:
    """The texts of a page's files, by path."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return {file["path"]: file["text"] for file in _FILE.finditer(text)}


def write_project(page: str, folder: Path) -> None:
    """Write a page's files into a folder."""
    for path, text in files_of(page).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def run_in(folder: Path, command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module (``["pytest", "-q"]``) in a folder, without the settings of the test run."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment_for(folder, environment),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )


def environment_for(folder: Path, further: Mapping[str, str]) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TASKQ_", "PYTEST_"))
    }
    return {**inherited, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), **further}


def require(*modules: str) -> None:
    """Skip the test if a package is missing; fail it in CI."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        reason = f"{', '.join(missing)} is not installed: pip install --group test"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
