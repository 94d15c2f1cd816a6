"""The program's options, commands and user options, beside those of the real Celery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from celery.bin.celery import celery as real_program
from click.testing import CliRunner

from taskq_cloud.celery import Celery, signals
from taskq_cloud.celery.bin import celery as program
from taskq_cloud.celery.bin.base import CLIContext

COMMANDS = [
    name for name in real_program.commands if name not in ("amqp", "events", "graph", "logtool", "migrate", "multi")
]


@pytest.fixture
def app() -> Iterator[Any]:
    """An application on a broker in memory."""
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield app
    app.close()


def options_of(command: click.Command) -> dict[str, Any]:
    found = {}
    for each in command.params:
        if isinstance(each, click.Option):
            for name in (*each.opts, *each.secondary_opts):
                found[name] = (each.name, each.is_flag)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_all_options_of_celerys(name: str) -> None:
    ours, real = options_of(program.celery.commands[name]), options_of(real_program.commands[name])
    assert real.items() <= ours.items()


def test_program_has_all_commands_and_global_options_of_celerys() -> None:
    assert real_program.commands.keys() == program.celery.commands.keys()
    assert options_of(real_program).items() <= options_of(program.celery).items()


def test_user_options_reach_bootsteps_and_preload_options_the_signal(app: Any) -> None:
    seen: list[Any] = []

    def receive(options: Any = None, **_: Any) -> None:
        seen.append(options)

    app.user_options["preload"].add(click.Option(["--region"], default="eu"))
    signals.user_preload_options.connect(receive)
    before = list(program.celery.commands.values())
    try:
        assert program.main(["--quiet", "report", "--region", "us"], app=app) is None
        assert program.main(["call", "shop.add"], app=app) is None
        assert program.main(["worker", "--help"], app=app) == 0
    finally:
        signals.user_preload_options.disconnect(receive)
        for command in before:
            command.params[:] = [each for each in command.params if each.name != "region"]
    assert seen == [{"region": "us"}, {"region": "eu"}]


def test_version_is_that_of_the_interface() -> None:
    ran = CliRunner().invoke(program.celery, ["--version"])
    assert (ran.exit_code, ran.output.split()[0]) == (0, "5.7.0")


def test_context_shows_replies_as_celery_does(app: Any) -> None:
    from celery.bin.base import CLIContext as RealContext

    ours, real = CLIContext(app, no_color=True, workdir=None), RealContext(app, no_color=True, workdir=None)
    for value in ([], ["a", "b"], {"ok": "pong"}, {"error": "no"}, {"a": 1}, "text", 3):
        assert ours.pretty(value) == real.pretty(value)


OLD_SETTINGS = "BROKER_URL = 'x'\nCELERYD_CONCURRENCY = 4  # four\nCELERY_RESULT_BACKEND = 'y'\r\nother = 1\n"


@pytest.mark.parametrize("options", [[], ["--django"], ["--compat", "--no-backup"]])
def test_upgrade_changes_a_file_as_celery_does(tmp_path: Path, options: list[str], app: Any) -> None:
    changed = []
    for number, command in enumerate([program.celery, real_program]):
        file = tmp_path / f"settings{number}.py"
        file.write_bytes(OLD_SETTINGS.encode())
        ran = CliRunner().invoke(command, ["upgrade", "settings", str(file), *options])
        assert ran.exit_code == 0, ran.output
        changed.append((file.read_bytes(), Path(f"{file}.orig").exists()))
    assert changed[0] == changed[1]


def test_plugin_that_cannot_be_imported_says_so(monkeypatch: pytest.MonkeyPatch, app: Any) -> None:
    from importlib.metadata import EntryPoint

    broken = EntryPoint("flower", "no_such_package:command", "celery.commands")
    monkeypatch.setattr(program, "entry_points", lambda group: [broken])
    program.celery.params[0].default = app
    try:
        ran = CliRunner().invoke(program.celery, ["flower", "--port=5555"])
    finally:
        program.celery.params[0].default = None
        program.celery.commands.pop("flower", None)
    assert ran.exit_code == 1
    assert "the command flower of no_such_package:command can't be imported: ModuleNotFoundError" in ran.output
