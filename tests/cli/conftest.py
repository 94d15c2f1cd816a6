"""Fixtures for the command line: a small application in a temporary folder, and ``taskq`` with or without a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.cli import main

SHOP = """
import logging

from taskq_cloud import TaskQ

app = TaskQ("shop")
logger = logging.getLogger(__name__)

@app.task
def add(x: int, y: int) -> int:
    logger.info("adding %d and %d", x, y)
    return x + y

@app.task
def fail(text: str) -> None:
    raise ValueError(text)

@app.task(queue="mail")
async def notify(user: int) -> str:
    return f"told {user}"

@app.task(ignore_result=True)
def forget() -> None: ...
"""

TaskQCommand = Callable[..., Result]
_numbers = count()


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the application's module. It differs for each test because an imported module stays imported."""
    for name in [name for name in os.environ if name.startswith("TASKQ_")]:
        if not name.startswith("TASKQ_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    name = f"shop{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    yield name
    if name in sys.modules:
        find_app(name).close()
        del sys.modules[name]


@pytest.fixture
def taskq() -> TaskQCommand:
    """Run ``taskq`` in this process: ``taskq("call", "shop.add")``."""

    def invoke(*arguments: str, **options: Any) -> Result:
        result = CliRunner().invoke(main, arguments, prog_name="taskq", **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def taskq_process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``taskq`` as a process, in the application's folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("taskq")), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
