"""The console sessions of docs/getting-started.md and README.md run in a shell, and print what the pages say.

The Python code of such a page is pasted into the files that the page names, and the commands run them: a worker in one
process, calls in others.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.aws import Ministack
from tests.docs.samples import DOCS, README, Block, assert_prints

SESSIONS = [
    ("getting-started.md", "On one machine"),
    ("getting-started.md", "On a local AWS stack"),
    (README, "A first task"),
]
SLOW = {"On one machine": pytest.mark.slow, "On a local AWS stack": pytest.mark.slow}
INSTALLS = ("pip install", "python3 -m venv")
TIMEOUT_SECONDS = 100


def section_of(page: str, title: str) -> str:
    """Return the text under a heading of the second level."""
    text = (DOCS / page).read_text(encoding="utf-8")
    sections: dict[str, str] = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", text, re.MULTILINE))
    return sections[title]


def pasted_files(page: str) -> dict[str, str]:
    """Return the files that the page tells to write: each Python block after a sentence that ends in a file's name."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return dict(re.findall(r"`([\w.]+\.py)`:\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def commands(section: str) -> list[tuple[str, str]]:
    """Return a section's commands, each with the output that the page shows."""
    blocks = re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    blocks = [block.replace("\\\n", "") for block in blocks]
    found = [each.partition("\n") for block in blocks for each in block.removeprefix("$ ").split("\n$ ")]
    return [(command, prints) for command, _, prints in found if not command.startswith(INSTALLS)]


def run_in_one_shell(script: str, directory: Path) -> str:
    """Run a script in a shell that leads its own session; all processes of the session end with it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TASKQ_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = shell.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        for process in _of_session(shell.pid):
            os.kill(process, signal.SIGKILL)
    return printed


def _of_session(session: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True, check=False)
    return [int(each) for each in listed.stdout.split()]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("page", "section"), [pytest.param(page, section, marks=SLOW.get(section, ())) for page, section in SESSIONS]
)
def test_session_prints_what_page_says(page: str, section: str, tmp_path: Path) -> None:
    steps = commands(section_of(page, section))
    if any("ministack" in command for command, _ in steps) and (reason := Ministack.missing()) is not None:
        pytest.skip(reason)
    for name, code in pasted_files(page).items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    port = str(_free_port())
    script = "\n".join(f"{command.replace('4566', port)}\necho; echo ENDS-HERE" for command, _ in steps)
    printed = run_in_one_shell(script, tmp_path).split("ENDS-HERE\n")
    logs = "".join(path.read_text() for path in sorted(tmp_path.glob("*.log")))
    assert len(printed) == len(steps) + 1, f"{printed}\n{logs}"
    for (command, prints), answer in zip(steps, printed[:-1], strict=True):
        if not command.startswith("kill"):  # the shell reports the ended process in its own words
            assert_prints(Block(page, 0, "", command, prints), answer)


@pytest.mark.parametrize(("page", "files"), [(README, ["shop.py"]), ("getting-started.md", ["shop.py", "call.py"])])
def test_session_runs_a_worker_and_calls_its_tasks_from_another_process(page: str, files: list[str]) -> None:
    assert list(pasted_files(page)) == files
    typed = [command for section in (each for on, each in SESSIONS if on == page) for command in _typed(page, section)]
    worker = typed.index("taskq worker -A shop --quiet > worker.log 2>&1 &")
    assert f"python {files[-1]}" in typed[worker:]


def _typed(page: str, section: str) -> list[str]:
    return [command for command, _ in commands(section_of(page, section))]
