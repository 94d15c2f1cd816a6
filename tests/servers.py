"""A pytest plugin, named in conftest.py, with the servers of other systems for the tests that ask for one.

A server starts when the first test needs it, once for all processes of a run, and ends with the run. With pytest-xdist
the controller starts the servers, and the worker processes ask it for their addresses.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Final

import pytest

from emulators.process import Emulator
from emulators.servers import SERVERS, server

_ADDRESS: Final = "TASKQ_TEST_SERVERS"
_KEEPER: Final = pytest.StashKey["_Keeper"]()


class _Keeper:
    """Starts each server once, and ends them all."""

    def __init__(self) -> None:
        self._started: dict[str, Emulator] = {}
        self._lock = threading.Lock()
        self._listener: Listener | None = None

    def listen(self) -> str:
        """Answer worker processes from now on; returns the address to ask at."""
        self._listener = Listener(family="AF_UNIX")
        threading.Thread(target=self._answer, args=(self._listener,), daemon=True).start()
        return str(self._listener.address)

    def url(self, name: str) -> str:
        with self._lock:
            if name not in self._started:
                started = server(name)
                started.start()
                self._started[name] = started
            return self._started[name].url

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        with self._lock:
            for each in self._started.values():
                each.stop()

    def _answer(self, listener: Listener) -> None:
        while True:
            try:
                connection = listener.accept()
            except OSError:  # closed
                return
            with connection:
                try:
                    answer: tuple[str, str] = ("url", self.url(connection.recv()))
                except (RuntimeError, EOFError) as error:
                    answer = ("error", str(error))
                connection.send(answer)


def pytest_configure(config: pytest.Config) -> None:
    keeper = config.stash[_KEEPER] = _Keeper()
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
        os.environ[_ADDRESS] = keeper.listen()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_KEEPER].close()


def require_server(name: str) -> None:
    """Skip the test with a reason if a server can't be started here; with CI=true that is an error."""
    reason = SERVERS[name].missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def server_url(pytestconfig: pytest.Config) -> Callable[[str], str]:
    """Return a function that gives the URL of the run's server of a name in ``emulators.servers.SERVERS``."""

    def url(name: str) -> str:
        require_server(name)
        address = os.environ.get(_ADDRESS)
        if address is None:
            return pytestconfig.stash[_KEEPER].url(name)
        with Client(address, family="AF_UNIX") as connection:
            connection.send(name)
            kind, answer = connection.recv()
        if kind == "error":
            raise RuntimeError(answer)
        return str(answer)

    return url


@pytest.fixture
def own_server() -> Iterator[Callable[[str], Emulator]]:
    """Return a function that starts a server of the test's own with its data on disk, to kill and to start again."""
    started: list[Emulator] = []
    folders: list[Path] = []

    def start(name: str) -> Emulator:
        require_server(name)
        # Not in pytest's folder: a server that refuses to be root has to reach its own.
        folder = Path(tempfile.mkdtemp(prefix=f"taskq-own-{name}-"))
        folders.append(folder)
        folder.chmod(0o755)
        emulator = server(name, folder)
        emulator.start()
        started.append(emulator)
        return emulator

    yield start
    for each in started:
        each.stop()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
