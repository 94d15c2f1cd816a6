"""Test that log lines never wait for their reader, and that none are lost while the reader reads."""

from __future__ import annotations

import io
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.bootstrap import log_output, logs
from taskq_cloud.bootstrap.log_output import KEPT_BYTES, PatientOutput
from taskq_cloud.testing.waiting import until

LINE = "x" * 99 + "\n"


class Reader:
    """The other end of a stream: reads nothing until it is asked to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Wait for the end of the stream: a later test may get the same descriptor."""
        if self._thread.ident is None:
            self.start()
        self._thread.join(20)
        os.close(self._descriptor)

    def _read(self) -> None:
        with suppress(OSError):
            while part := os.read(self._descriptor, 65536):
                self._text += part

    def lines(self) -> list[str]:
        return self._text.decode().splitlines()


def pipe() -> tuple[int, int]:
    read, write = os.pipe()
    return read, write


def socket_pair() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.fixture(params=[pipe, socket_pair, "unreadable /proc"])
def output(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PatientOutput, Reader]]:
    make: Callable[[], tuple[int, int]] = pipe if isinstance(request.param, str) else request.param
    read, write = make()
    if isinstance(request.param, str):

        def refuse(*_: object) -> int:
            raise PermissionError

        monkeypatch.setattr("taskq_cloud.bootstrap.log_output.os.open", refuse)
    stream = io.TextIOWrapper(io.FileIO(write, "w", closefd=False))
    monkeypatch.setattr(sys, "stderr", stream)
    made = log_output.log_output()
    monkeypatch.undo()
    assert isinstance(made, PatientOutput)
    reader = Reader(read)
    yield made, reader
    made.close(0)
    os.close(write)
    reader.close()


def test_lines_are_written_at_once_while_there_is_room(output: tuple[PatientOutput, Reader]) -> None:
    stream, reader = output
    stream.write("first\n")
    assert os.read(reader._descriptor, 100) == b"first\n"


def test_write_does_not_wait_for_a_reader_that_does_not_read(output: tuple[PatientOutput, Reader]) -> None:
    stream, reader = output
    numbered = [f"{number:>8}{LINE}" for number in range(5000)]
    for line in numbered:
        stream.write(line)
    reader.start()
    until(lambda: len(reader.lines()) == len(numbered), "the lines to be read")
    assert [line + "\n" for line in reader.lines()] == numbered
    stream.write("after\n")
    until(lambda: reader.lines()[-1] == "after", "the last line to be read")


def test_lines_over_the_limit_are_dropped_and_counted(output: tuple[PatientOutput, Reader]) -> None:
    stream, reader = output
    handler = logging.StreamHandler(stream)
    log_output.logger.addHandler(handler)
    try:
        for _ in range(3 * KEPT_BYTES // len(LINE)):
            stream.write(LINE)
        assert stream._dropped > 0
        reader.start()
        until(lambda: reader.lines() and "were dropped" in reader.lines()[-1], "the count of the dropped lines")
    finally:
        log_output.logger.removeHandler(handler)
    written, dropped = len(reader.lines()) - 1, int(reader.lines()[-1].split()[0])
    assert written + dropped == 3 * KEPT_BYTES // len(LINE)


def test_line_to_a_reader_that_is_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    stream = PatientOutput(write, lambda data: os.write(write, data), lambda: None)
    os.close(read)
    stream.write("nobody reads this\n")
    os.close(write)


def test_file_is_written_without_a_detour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        assert log_output.log_output() is file


APP = """
import logging
from taskq_cloud import TaskQ

app = TaskQ("shop", wait_time_seconds=0.2)

@app.task
def chat(lines):
    for number in range(lines):
        logging.getLogger("shop").info("line %d: %s", number, "x" * 100)
    return lines
"""


def test_handlers_of_the_application_do_not_wait_either(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        handler = logging.StreamHandler(stream)
        logger = logging.getLogger("tests.of.an.application")
        logger.addHandler(handler)
        try:
            logs.keep_handlers_from_waiting()
            for _ in range(2000):
                logger.warning(LINE)
        finally:
            logger.removeHandler(handler)
            os.close(read)
    assert isinstance(handler.stream, PatientOutput)


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["stdout", "stderr"])
def test_worker_starts_though_the_reader_of_its_output_is_gone(tmp_path: Path, gone: str) -> None:
    (tmp_path / "shop.py").write_text(APP)
    read, write = os.pipe()
    os.close(read)
    outputs: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, gone: write}
    command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "shop", "-c", "1", "-P", "solo", "--burst"]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=outputs["stdout"], stderr=outputs["stderr"], timeout=60, check=False
    )
    os.close(write)
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_worker_whose_log_nobody_reads_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str) -> None:
    (tmp_path / "shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "shop", "-c", "2", "-P", pool]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as worker:
        app = TaskQ("caller")
        try:
            results = [app.send_task("shop.chat", (2000,)) for _ in range(4)]
            assert [result.get(timeout=60) for result in results] == [2000] * 4
            worker.terminate()
            assert worker.wait(60) == 0
        finally:
            app.close()
            worker.kill()
