"""How a function starts, under AWS's own runtime client: applications that can't be imported, and what it reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from emulators.aws.programs.runtime_api import RuntimeApi

SHOP = """
from taskq_cloud import TaskQ

app = TaskQ("shop", broker="memory://", results="memory://")
"""


@contextmanager
def started(folder: Path, **environment: str) -> Iterator[tuple[RuntimeApi, IO[str]]]:
    """Run the function of the application in a folder. Yield Lambda's Runtime API, and the function's log."""
    with RuntimeApi() as api:
        variables = {
            **os.environ,
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "TASKQ_APP": "shop:app",
            **environment,
        }
        command = [sys.executable, "-m", "awslambdaric", "taskq_cloud.lambda_function.lambda_handler"]
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout
        try:
            yield api, process.stdout
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "reason", "line"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'", "import no_such_module"),
        ("from os import nothing", "ImportError: cannot import name 'nothing' from 'os'", "from os import nothing"),
        ("def tasks(:", "SyntaxError: invalid syntax", "shop.py, line 1"),
        ("import taskq_cloud.brokers.nothing", "ModuleNotFoundError", "import taskq_cloud.brokers.nothing"),
    ],
)
def test_application_that_cannot_be_imported_shows_where(tmp_path: Path, source: str, reason: str, line: str) -> None:
    (tmp_path / "shop.py").write_text(source + SHOP)
    with started(tmp_path) as (api, log):
        kind, answer = api.answer()
        text = log.read()
    assert (kind, answer["errorType"]) == ("init", "ImproperlyConfigured")
    assert answer["errorMessage"].startswith(f"the application shop:app can't be imported: {reason}")
    assert line in text
    assert "Unable to import module" not in text
