"""``taskq beat``: periodic tasks, given to the platform's scheduler, or sent by a ticker of our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.beat import apply as applying
from taskq_cloud.beat import ownership
from taskq_cloud.beat import plan as planning
from taskq_cloud.beat.plan import Change
from taskq_cloud.beat.run import make_ticker, tick_until_signal
from taskq_cloud.cli.common import common_options, open_app, say
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.errors import ImproperlyConfigured

CHANGES_EXIT_CODE = 2
"""As of ``terraform plan -detailed-exitcode``."""
_LONGEST_SHOWN = 100
_SIGNS = {"create": "+", "update": "~", "delete": "-", "prune": "-"}

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_yes = click.option("-y", "--yes", is_flag=True, help="Don't ask.")
_take_over = click.option(
    "--take-over",
    is_flag=True,
    help="Replace or remove what may be another application's of the same name.",
)


@click.group("beat", short_help="Run periodic tasks, or have the platform run them.")
@common_options
def command() -> None:
    """Run an application's periodic tasks, or have the platform's scheduler run them."""


@command.command("plan", short_help="Say what has to change on the platform.")
@_as_json
@_take_over
@common_options
@click.pass_context
def plan(context: click.Context, /, as_json: bool, take_over: bool) -> None:
    """Say what has to change for the platform's schedules to be those declared; changes nothing.

    Exit code 0: nothing; 2: something; 1: it could not be told.
    """
    app = open_app(context)
    entries = app.schedule_entries()
    changes = _planned(app, entries, take_over=take_over)
    _show(changes, entries, as_json=as_json)
    if planning.to_write([change for change in changes if change.action != "foreign"], prune=True):
        context.exit(CHANGES_EXIT_CODE)


@command.command("apply", short_help="Make the platform's schedules those declared.")
@click.option("--prune", is_flag=True, help="Remove the schedules of entries that nobody declares, too.")
@_as_json
@_yes
@_take_over
@common_options
@click.pass_context
def apply(context: click.Context, /, prune: bool, as_json: bool, yes: bool, take_over: bool) -> None:
    """Make the platform's schedules those declared: show what changes, ask, and change it.

    What is paused stays paused. Schedules of entries that nobody declares stay, without --prune.
    """
    app = open_app(context)
    entries = app.schedule_entries()
    changes = _planned(app, entries, take_over=take_over)
    _show(changes, entries, as_json=as_json)
    _carry_out(context, app, planning.to_write(changes, prune=prune), yes=yes)


@command.command("prune", short_help="Remove schedules of entries that nobody declares.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_as_json
@_yes
@_take_over
@common_options
@click.pass_context
def prune(context: click.Context, /, names: tuple[str, ...], as_json: bool, yes: bool, take_over: bool) -> None:
    """Remove the application's schedules whose entries nobody declares: all of them, or those of the entries named."""
    app = open_app(context)
    entries = app.schedule_entries()
    planned = _planned(app, entries, take_over=take_over)
    changes = [each for each in planned if each.action in ("prune", "foreign")]
    unknown = sorted(set(names) - {change.entry for change in changes})
    if unknown:
        raise ImproperlyConfigured(f"no schedule to prune is of an entry {unknown[0]!r}: taskq beat plan lists them")
    changes = [change for change in changes if not names or change.entry in names]
    _show(changes, entries, as_json=as_json)
    _carry_out(context, app, planning.to_write(changes, prune=True), yes=yes)


@command.command("list", short_help="List the periodic tasks, and when they are due next.")
@_as_json
@common_options
@click.pass_context
def list_entries(context: click.Context, /, as_json: bool) -> None:
    """List the declared periodic tasks, when they are due next, and what the platform has of them."""
    app = open_app(context)
    states = _states(app) if app.scheduler is not None else {}
    rows = [_row(entry, states.get(entry.name)) for entry in app.schedule_entries()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    columns = ("name", "task", "schedule", "timezone", "next", "state")
    table = [columns, *(tuple(str(row[column] or "-") for column in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@command.command("pause", short_help="Have a periodic task not called until it is resumed.")
@click.argument("name")
@common_options
@click.pass_context
def pause(context: click.Context, /, name: str) -> None:
    """Disable a periodic task's schedules on the platform; apply leaves them so."""
    _set_enabled(context, name, enabled=False)


@command.command("resume", short_help="End the pause of a periodic task.")
@click.argument("name")
@common_options
@click.pass_context
def resume(context: click.Context, /, name: str) -> None:
    """Enable the schedules of a paused periodic task again. What was due meanwhile is not made up for."""
    _set_enabled(context, name, enabled=True)


@command.command("run-now", short_help="Call a periodic task now.")
@click.argument("name")
@common_options
@click.pass_context
def run_now(context: click.Context, /, name: str) -> None:
    """Call a periodic task with its arguments and options, now and beside its schedule; print the task's id."""
    app = open_app(context)
    entry = _entry(app.schedule_entries(), name)
    options = {option: value for option, value in entry.options.items() if option != "countdown"}
    click.echo(app.send_task(entry.task, entry.args, entry.kwargs, **options).id)


@command.command("run", short_help="Send periodic tasks when they are due, until told to stop.")
@common_options
@click.pass_context
def run(context: click.Context, /) -> None:
    """Send each periodic task's message when it is due, until SIGTERM or SIGINT.

    Several may run: one sends, the others stand by. Not needed where the platform's scheduler has the schedules.
    """
    app = open_app(context, loglevel="info")
    ticker = make_ticker(app, app.schedule_entries())
    asyncio.run(tick_until_signal(ticker, app.arun, app.aclose))


def _planned(app: TaskQ, entries: Sequence[ScheduleEntry], *, take_over: bool) -> list[Change]:
    return app.run(applying.make_plan(app, entries, datetime.now(UTC), take_over=take_over))


def _carry_out(context: click.Context, app: TaskQ, changes: Sequence[Change], *, yes: bool) -> None:
    if not changes:
        return
    _check_kept(app)
    if not yes:
        click.confirm(f"Make {_count(len(changes))}?", abort=True, err=True)
    made = app.run(applying.carry_out(applying.store_of(app), changes))
    others = f", {len(changes) - made} had been made by somebody else" if made < len(changes) else ""
    say(context, f"{_count(made)} made{others}")


def _check_kept(app: TaskQ) -> None:
    if not applying.store_of(app).capabilities.durable:
        raise ImproperlyConfigured(
            "the scheduler keeps schedules in the memory of this process, which ends now: set TASKQ_SCHEDULER to one "
            "that lasts, for example eventbridge://my-group?role=arn:aws:iam::123456789012:role/my-scheduler; taskq "
            "beat run needs none"
        )


def _set_enabled(context: click.Context, name: str, *, enabled: bool) -> None:
    app = open_app(context)
    changes = app.run(applying.set_enabled(app, _entry(app.schedule_entries(), name), enabled=enabled))
    state = "enabled" if enabled else "paused"
    click.echo(f"{name}: {state}" if changes else f"{name}: was {state} already")


def _entry(entries: Sequence[ScheduleEntry], name: str) -> ScheduleEntry:
    for entry in entries:
        if entry.name == name:
            return entry
    raise ImproperlyConfigured(f"no periodic task is called {name!r}; there are: {', '.join(e.name for e in entries)}")


def _show(changes: Sequence[Change], entries: Sequence[ScheduleEntry], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([change.to_document() for change in changes]))
        return
    now = datetime.now(UTC)
    for entry in entries:
        if entry.timing.end is not None and entry.timing.end <= now:
            click.echo(f"  {entry.name} has no schedule: its end, {entry.timing.end.isoformat()}, is over")
    for change in changes:
        if change.paused:
            click.echo(f"  {change.entry} is paused, and stays so: taskq beat resume ends it")
        if change.action == "foreign":
            click.echo(f"! {change.entry} stays: {change.reason}")
        if change.action in ("unchanged", "foreign"):
            continue
        why = " (nobody declares it, or its end is over; removed by prune)" if change.action == "prune" else ""
        shown = change.wanted or change.live
        when = f": {shown.when} {shown.timezone}" if shown is not None else ""
        click.echo(f"{_SIGNS[change.action]} {change.entry}  {change.name}{when}{why}")
        for part, (was, will) in change.differences.items():
            click.echo(f"    {part}: {_shown(was)} -> {_shown(will)}")
    counts = {action: sum(change.action == action for change in changes) for action in (*_SIGNS, "unchanged")}
    click.echo(
        ", ".join(f"{count} to {action}" for action, count in counts.items() if action != "unchanged" and count)
        or "no changes"
    )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _states(app: TaskQ) -> dict[str, str]:
    states: dict[str, str] = {}
    for each in app.run(applying.live_schedules(app)).values():
        entry = ownership.entry_of(each)[1]
        if entry is not None:
            states[entry] = "enabled" if each.enabled else "paused" if ownership.is_paused(each) else "disabled"
    return states


def _row(entry: ScheduleEntry, state: str | None) -> dict[str, Any]:
    upcoming = next(entry.fire_times(datetime.now(UTC)), None)
    return {
        "name": entry.name,
        "task": entry.task,
        "schedule": repr(entry.schedule),
        "timezone": entry.timezone,
        "next": upcoming.isoformat() if upcoming and entry.enabled else None,
        "state": state,
    }


def _count(number: int) -> str:
    return f"{number} change{'' if number == 1 else 's'}"
