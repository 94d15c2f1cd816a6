"""SQLite files as a broker and a result store; the shop creates the files itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from demo.infrastructure.interface import Infrastructure, Machine, Meter, RunningBroker, RunningStore

_METER = Meter("SQLite", note="Calls are not counted: SQLite is a file, not a service.")


def _start_broker(machine: Machine) -> RunningBroker:
    path = _new_file(machine, "queues.db")
    machine.say(f"The queues orders and images are in the SQLite file {path}")
    return RunningBroker(
        url=f"sqlite:///{path.absolute()}",
        environment={},
        uncounted={},
        prefix="",
        workers={"container": "orders", "container2": "images"},
        start_function=None,
        meter=_METER,
    )


def _start_results(machine: Machine) -> RunningStore:
    path = _new_file(machine, "results.db")
    machine.say(f"The results are in the SQLite file {path}")
    return RunningStore(
        url=f"sqlite:///{path.absolute()}",
        environment={},
        uncounted={},
        contents=f"rows in {path}",
        key_of=str,
        meter=_METER,
    )


def _new_file(machine: Machine, name: str) -> Path:
    for old in machine.folder.glob(f"{name}*"):  # the journal of the file, and the pipes of those who listen
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()
    return machine.folder / name


BROKER = Infrastructure(_start_broker)
RESULTS = Infrastructure(_start_results)
