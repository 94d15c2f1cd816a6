"""Tests that type checkers know the parameters and the value of a user's task, and the options of a call.

mypy and pyright read the sample in ``tests/typed``. Both must report every line marked ``# error: code``, where the
code is mypy's, and no other line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskq_cloud.calling.options import CallKeywords, CallOptions
from taskq_cloud.core.model.option_keywords import TaskKeywords
from taskq_cloud.core.model.options import TaskOptions

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "tests" / "typed" / "uses_the_api.py"
ERROR = re.compile(r"^.*uses_the_api\.py:(\d+): error: .*\[([a-z-]+)\]$", re.MULTILINE)


def marked_lines() -> set[tuple[int, str]]:
    lines = SAMPLE.read_text().splitlines()
    return {(number, line.rpartition("# error: ")[2]) for number, line in enumerate(lines, 1) if "# error: " in line}


@pytest.mark.slow
def test_mypy_reports_exactly_the_marked_lines(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", f"--cache-dir={tmp_path}", str(SAMPLE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    found = {(int(line), code) for line, code in ERROR.findall(checked.stdout)}
    assert len(marked_lines()) >= 10
    assert found == marked_lines(), checked.stdout + checked.stderr


@pytest.mark.slow
def test_pyright_reports_exactly_the_marked_lines() -> None:
    pyright = next((ROOT / ".emulators").glob("pyright-*/node_modules/.bin/pyright"), None)
    if pyright is None:
        reason = "pyright is not installed: make test installs it with npm"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    checked = subprocess.run(
        [pyright, "--outputjson", "--pythonpath", sys.executable, str(SAMPLE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    found = {each["range"]["start"]["line"] + 1 for each in json.loads(checked.stdout)["generalDiagnostics"]}
    assert found == {number for number, _ in marked_lines()}, checked.stdout + checked.stderr


@pytest.mark.parametrize(("keywords", "options"), [(CallKeywords, CallOptions), (TaskKeywords, TaskOptions)])
def test_keyword_types_have_a_key_for_each_option(keywords: type, options: type) -> None:
    names = {field.name for field in dataclasses.fields(options)}
    assert set(keywords.__annotations__) == names
