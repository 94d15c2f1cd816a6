from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from emulators.process import Emulator, wait_until_it_answers
from taskq_cloud.testing.waiting import until

SERVER = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"

STARTER = f"""
import time
from emulators.process import Emulator
import sys
with Emulator("server", lambda port: [sys.executable, "-c", {SERVER!r}, str(port)]) as emulator:
    print(emulator.url, flush=True)
    time.sleep(600)
"""


def answers(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


def test_emulator_answers_from_entry_to_exit() -> None:
    with Emulator("server", lambda port: [sys.executable, "-c", SERVER, str(port)]) as emulator:
        assert answers(emulator.url)
    assert not answers(emulator.url)


def test_error_shows_last_output_of_an_emulator_that_has_ended() -> None:
    program = "import sys; sys.exit('no such flag')"
    with (
        pytest.raises(RuntimeError, match="server has ended: no such flag"),
        Emulator("server", lambda _: [sys.executable, "-c", program]),
    ):
        pytest.fail("it runs")


def test_emulator_ends_with_the_process_that_started_it() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    url = starter.stdout.readline().strip()
    wait_until_it_answers(url, "server")

    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()

    until(lambda: not answers(url), "the emulator to end")
