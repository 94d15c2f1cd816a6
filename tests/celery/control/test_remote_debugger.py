"""The debugger of tasks, to which a terminal connects: Celery's and ours have the same session."""

import importlib
import io
import re
import socket
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

MODULES = tuple(importlib.import_module(f"{package}.contrib.rdb") for package in ("celery", "taskq_cloud.celery"))


@pytest.fixture(autouse=True)
def _same_streams() -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.gettrace()
    yield
    sys.stdin, sys.stdout = before[:2]
    sys.settrace(before[2])


class _Announced(io.StringIO):
    """A file that tells when a session waits for its terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.port: int = 0
        self.waits = threading.Event()

    def write(self, text: str) -> int:
        found = re.search(r"telnet \S+ (\d+)", text)
        if found:
            self.port = int(found[1])
            self.waits.set()
        return super().write(text)


def _until_prompt(connection: socket.socket) -> str:
    """Return what the debugger has written before its next prompt, or before its end."""
    text = ""
    while not text.endswith("(Pdb) "):
        received = connection.recv(4096).decode()
        if not received:
            break
        text += received
    return text


def _session(module: ModuleType, command: str) -> Any:
    """Open a session in this thread, and speak to it from another one."""
    out, heard = _Announced(), list[str]()

    def terminal() -> None:
        assert out.waits.wait(10)
        with socket.create_connection(("127.0.0.1", out.port), timeout=10) as connection:
            for sent in ("p 1 + 2", command):
                # What is sent before the prompt is lost: the debugger's file forgets its input when it is written to.
                heard.append(_until_prompt(connection))
                connection.sendall(f"{sent}\n".encode())
            heard.append(_until_prompt(connection))

    speaking = threading.Thread(target=terminal)
    speaking.start()
    with module.Rdb(out=out, port=7100) as session:
        session.set_trace()
        was_active = session.active
    speaking.join(10)
    lines = re.sub(r"\d{4,}", "PORT", out.getvalue())
    return was_active, session.active, lines, heard[1]


@pytest.mark.parametrize("command", ["c", "exit"])
def test_session_is_celerys(command: str) -> None:
    theirs, ours = (_session(module, command) for module in MODULES)
    assert ours == theirs
    assert ours[1] is False


def test_port_in_use_is_passed_over() -> None:
    session = MODULES[1].Rdb.__new__(MODULES[1].Rdb)
    first, port = session.get_avail_port("127.0.0.1", 7200)
    first.listen(1)
    second, other = session.get_avail_port("127.0.0.1", port)
    with first, second, pytest.raises(RuntimeError, match="CELERY_RDB_PORT"):
        session.get_avail_port("127.0.0.1", port, search_limit=1)
    assert other > port


def test_open_session_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        session = type("Session", (), {"active": True})()
        monkeypatch.setattr(module, "_current", [session])
        assert module.debugger() is session
