"""What a type checker tells a user: it knows a task's parameters, at the call and wherever it is called from."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).parent / "typed" / "uses_the_api.py"
ERROR = re.compile(r"^.*uses_the_api\.py:(\d+): error: .*\[([a-z-]+)\]$", re.MULTILINE)


def test_a_users_mistakes_are_errors_and_nothing_else_is(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", f"--cache-dir={tmp_path}", str(SAMPLE)],
        cwd=SAMPLE.parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    found = {(int(line), code) for line, code in ERROR.findall(checked.stdout)}
    lines = SAMPLE.read_text().splitlines()
    marked = {(number, line.rpartition("# error: ")[2]) for number, line in enumerate(lines, 1) if "# error: " in line}
    assert len(marked) >= 10
    assert found == marked, checked.stdout + checked.stderr
