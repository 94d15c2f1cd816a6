"""How a function's process starts and ends, under AWS's own runtime client."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from emulators.aws.programs.runtime_api import EXIT, RuntimeApi
from tests.serverless.started_function import started_function

SHOP = """
from taskq_cloud import TaskQ

app = TaskQ("shop", broker="memory://", results="memory://")
"""


def started(folder: Path, **environment: str) -> AbstractContextManager[tuple[RuntimeApi, subprocess.Popen[str]]]:
    """Run the function of the application in a folder. Yield Lambda's Runtime API, and the function's process."""
    names = {"AWS_LAMBDA_FUNCTION_NAME": "shop", "TASKQ_APP": "shop:app"}
    return started_function(folder, {**os.environ, **names, **environment})


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
    with started(tmp_path) as (api, process):
        kind, answer = api.answer()
        text = process.communicate()[0]
    assert (kind, answer["errorType"]) == ("init", "ImproperlyConfigured")
    assert answer["errorMessage"].startswith(f"the application shop:app can't be imported: {reason}")
    assert line in text
    assert "Unable to import module" not in text


LEAKING = (
    SHOP
    + """
kept = []


@app.task(name="keep")
def keep(megabytes):
    kept.append(bytes(range(256)) * 4096 * megabytes)
"""
)


@pytest.mark.slow
def test_process_whose_memory_grows_ends_after_an_answer(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(LEAKING)
    invocations, answers = 0, set()
    with started(tmp_path, AWS_LAMBDA_FUNCTION_MEMORY_SIZE="256") as (api, process):
        while process.poll() is None and invocations < 30:
            kind, content = api.call(b'{"task": "keep", "args": [20]}', ended=process.poll)
            if kind == EXIT:
                break
            invocations += 1
            answers.add((kind, json.loads(content)["status"]))
        assert process.wait(10) == 0
        log = process.communicate()[0]
    assert answers == {("response", "SUCCESS")}
    assert 2 < invocations < 12
    assert log.count("memory has grown from") == 1
