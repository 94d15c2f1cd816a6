"""What the shop needs of SQLite: nothing but a file, which the shop makes itself."""

from __future__ import annotations

from pathlib import Path

from demo.infrastructure.places import BrokerPlace, Infrastructure, Machine, Meter, StorePlace

_METER = Meter("SQLite", note="not counted: SQLite, which is a file and takes no calls")


def _start_broker(machine: Machine) -> BrokerPlace:
    path = _new_file(machine, "queues.db")
    machine.say(f"SQLite has the queues orders and images in {path}")
    return BrokerPlace(
        url=f"sqlite:///{path.absolute()}",
        environment={},
        uncounted={},
        prefix="",
        workers={"container": "orders", "container2": "images"},
        start_function=None,
        meter=_METER,
    )


def _start_results(machine: Machine) -> StorePlace:
    path = _new_file(machine, "results.db")
    machine.say(f"SQLite has the results in {path}")
    return StorePlace(
        url=f"sqlite:///{path.absolute()}",
        environment={},
        uncounted={},
        things=f"rows in {path}",
        key_of=str,
        meter=_METER,
    )


def _new_file(machine: Machine, name: str) -> Path:
    for old in machine.folder.glob(f"{name}*"):  # with the journal beside it
        old.unlink()
    return machine.folder / name


BROKER = Infrastructure(_start_broker)
RESULTS = Infrastructure(_start_results)
