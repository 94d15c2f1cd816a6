"""The commands of docs/getting-started.md run in a shell, one after the other, and print what the page says."""

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
from tests.docs.samples import DOCS, Block, assert_prints

PAGE = "getting-started.md"
TEXT = (DOCS / PAGE).read_text(encoding="utf-8")
SECTIONS = {title.strip(): text for title, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", TEXT, re.MULTILINE)}
INSTALLS = ("pip install", "python3 -m venv")
TIMEOUT_SECONDS = 100


def commands(section: str) -> list[tuple[str, str]]:
    """A section's commands, each with what the page says that it prints."""
    blocks = re.findall(r"^```console\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)
    blocks = [block.replace("\\\n", "") for block in blocks]
    found = [each.partition("\n") for block in blocks for each in block.removeprefix("$ ").split("\n$ ")]
    return [(command, prints) for command, _, prints in found if not command.startswith(INSTALLS)]


def run_in_one_shell(script: str, directory: Path) -> str:
    """Run a script in a shell of its own session; whatever it starts ends with it."""
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


@pytest.mark.parametrize("section", ["On one machine", "On a local AWS stack"])
def test_a_sections_commands_print_what_the_page_says(section: str, tmp_path: Path) -> None:
    if (reason := Ministack.missing()) is not None:
        pytest.skip(reason)
    (source,) = re.findall(r"`shop\.py`:\n\n```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "shop.py").write_text(source)
    steps = commands(section)
    port = str(_free_port())
    script = "\n".join(f"{command.replace('4566', port)}\necho; echo ENDS-HERE" for command, _ in steps)
    printed = run_in_one_shell(script, tmp_path).split("ENDS-HERE\n")
    logs = "".join(path.read_text() for path in sorted(tmp_path.glob("*.log")))
    assert len(printed) == len(steps) + 1, f"{printed}\n{logs}"
    for (command, prints), answer in zip(steps, printed[:-1], strict=True):
        if not command.startswith("kill"):  # the shell says what has ended, in words of its own
            assert_prints(Block(PAGE, 0, "", command, prints), answer)
