"""``taskq beat``: manage the schedules of periodic tasks on the cloud platform, or send the tasks from a ticker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.beat import ownership
from taskq_cloud.beat.apply import carry_out, live_schedules, make_plan, set_enabled, store_of
from taskq_cloud.beat.plan import Change, to_write
from taskq_cloud.beat.run import make_ticker, tick_until_signal
from taskq_cloud.cli.application import check_reachable, open_app
from taskq_cloud.cli.options import common_options, log_level
from taskq_cloud.cli.output import as_table, echo, json_text, say
from taskq_cloud.core import serializers
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.core.schedules.fields import HOUR
from taskq_cloud.core.schedules.triggers import silent_hour
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime import signals
from taskq_cloud.schedules import crontab

CHANGES_EXIT_CODE: Final = 2
"""The exit code of a plan with changes; ``terraform plan -detailed-exitcode`` uses it too."""
_LONGEST_VALUE: Final = 100
"""The most characters of a value that are printed."""
_SIGNS: Final = {"create": "+", "update": "~", "delete": "-", "prune": "-"}

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_yes = click.option("-y", "--yes", is_flag=True, help="Change the schedules without asking.")
_take_over = click.option(
    "--take-over",
    is_flag=True,
    help="Also replace or remove schedules that may belong to another application of the same name.",
)


@click.group("beat", short_help="Manage the schedules of periodic tasks, or send the tasks.")
@common_options
def command() -> None:
    """Manage the schedules of periodic tasks on the cloud platform, or send the tasks from a process of your own.

    On EventBridge Scheduler and Google Cloud Scheduler, `apply` creates the schedules and the platform sends the
    tasks. Everywhere else, `run` sends them.
    """


@command.command("plan", short_help="Show how the platform's schedules would change.")
@_as_json
@_take_over
@common_options
@click.pass_context
def plan(context: click.Context, /, as_json: bool, take_over: bool) -> None:
    """Show how `taskq beat apply` would change the platform's schedules. Nothing is changed.

    \b
    Exit codes:
      0  the platform's schedules are as declared
      1  the command failed (see standard error)
      2  some schedules have to change
    """
    app = open_app(context)
    entries = app.schedule_entries()
    changes = _plan_changes(app, entries, take_over=take_over)
    _print_changes(changes, entries, as_json=as_json)
    if to_write([change for change in changes if change.action != "foreign"], prune=True):
        context.exit(CHANGES_EXIT_CODE)


@command.command("apply", short_help="Create and update the platform's schedules.")
@click.option("--prune", is_flag=True, help="Also remove schedules whose periodic task is no longer declared.")
@_as_json
@_yes
@_take_over
@common_options
@click.pass_context
def apply(context: click.Context, /, prune: bool, as_json: bool, yes: bool, take_over: bool) -> None:
    """Create and update the platform's schedules as declared, after showing the changes and asking.

    A paused schedule stays paused. Without --prune, schedules whose periodic task is no longer declared are kept.
    """
    app = open_app(context)
    entries = app.schedule_entries()
    changes = _plan_changes(app, entries, take_over=take_over)
    _print_changes(changes, entries, as_json=as_json)
    _make_changes(context, app, to_write(changes, prune=prune), yes=yes)


@command.command("prune", short_help="Remove schedules whose periodic task is no longer declared.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_as_json
@_yes
@_take_over
@common_options
@click.pass_context
def prune(context: click.Context, /, names: tuple[str, ...], as_json: bool, yes: bool, take_over: bool) -> None:
    """Remove schedules of the application whose periodic task is no longer declared.

    With one or more names, only the schedules of the periodic tasks with these names are removed.
    """
    app = open_app(context)
    entries = app.schedule_entries()
    all_changes = _plan_changes(app, entries, take_over=take_over)
    changes = [change for change in all_changes if change.action in ("prune", "foreign")]
    unknown = sorted(set(names) - {change.entry for change in changes})
    if unknown:
        raise ImproperlyConfigured(
            f"there is no schedule to prune for a periodic task {unknown[0]!r}; taskq beat plan lists the schedules"
        )
    changes = [change for change in changes if not names or change.entry in names]
    _print_changes(changes, entries, as_json=as_json)
    _make_changes(context, app, to_write(changes, prune=True), yes=yes)


@command.command("list", short_help="List the periodic tasks and their next fire times.")
@_as_json
@common_options
@click.pass_context
def list_entries(context: click.Context, /, as_json: bool) -> None:
    """List the declared periodic tasks, with their next fire time and the state of their schedule on the platform.

    The state is enabled, paused or disabled; "-" means that the platform has no schedule for the task.
    """
    app = open_app(context)
    states = _states(app) if app.scheduler is not None else {}
    rows = [_row(entry, states.get(entry.name)) for entry in app.schedule_entries()]
    if as_json:
        echo(json_text(rows))
        return
    columns = ("name", "task", "schedule", "timezone", "next", "state")
    echo(as_table(columns, [[str(row[column] or "-") for column in columns] for row in rows]))


@command.command("pause", short_help="Pause a periodic task until it is resumed.")
@click.argument("name")
@common_options
@click.pass_context
def pause(context: click.Context, /, name: str) -> None:
    """Pause the periodic task NAME: disable its schedules on the platform. `taskq beat apply` keeps them paused."""
    _pause_or_resume(context, name, enabled=False)


@command.command("resume", short_help="Resume a paused periodic task.")
@click.argument("name")
@common_options
@click.pass_context
def resume(context: click.Context, /, name: str) -> None:
    """Resume the paused periodic task NAME: enable its schedules again. Fire times during the pause are skipped."""
    _pause_or_resume(context, name, enabled=True)


@command.command("run-now", short_help="Call a periodic task once, now.")
@click.argument("name")
@common_options
@click.pass_context
def run_now(context: click.Context, /, name: str) -> None:
    """Call the periodic task NAME once, now, with its declared arguments and options, and print the task's id.

    Its schedule doesn't change.
    """
    app = open_app(context)
    entry = _entry(app.schedule_entries(), name)
    options = {option: value for option, value in entry.options.items() if option != "countdown"}
    echo(app.send_task(entry.task, entry.args, entry.kwargs, **options).id)


@command.command("run", short_help="Run a ticker, which sends periodic tasks when they are due.")
@common_options
@click.pass_context
def run(context: click.Context, /) -> None:
    """Run a ticker, which sends each periodic task when it is due, until SIGTERM, SIGINT or SIGHUP.

    Several tickers can run: one sends and the others stand by. No ticker is needed where the platform's scheduler
    sends the tasks.
    """
    signals.end_on_signals()
    app = open_app(context, loglevel="info")
    check_reachable(app, "this ticker")
    ticker = make_ticker(app, app.schedule_entries())
    owner = getattr(app, "owner", None)
    if owner is not None:
        from taskq_cloud.celery.apps.beat import announce  # native applications don't need it

        announce(owner, log_level(context, "info"))
    asyncio.run(tick_until_signal(ticker, app.arun, app.aclose))


def _plan_changes(app: TaskQ, entries: Sequence[ScheduleEntry], *, take_over: bool) -> list[Change]:
    return app.run(make_plan(app, entries, datetime.now(UTC), take_over=take_over))


def _make_changes(context: click.Context, app: TaskQ, changes: Sequence[Change], *, yes: bool) -> None:
    if not changes:
        return
    _require_durable_scheduler(app)
    if not yes:
        click.confirm(f"Make {_count(len(changes))}?", abort=True, err=True)
    made = app.run(carry_out(store_of(app), changes))
    others = f"; another process had already made {_count(len(changes) - made)}" if made < len(changes) else ""
    say(context, f"{_count(made)} made{others}")


def _require_durable_scheduler(app: TaskQ) -> None:
    if not store_of(app).capabilities.durable:
        raise ImproperlyConfigured(
            "the schedules would be lost: the scheduler stores them in the memory of this process, which ends now. Set "
            "TASKQ_SCHEDULER to a durable scheduler, for example "
            "eventbridge://my-group?role=arn:aws:iam::123456789012:role/my-scheduler; or use taskq beat run, which "
            "needs no scheduler"
        )


def _pause_or_resume(context: click.Context, name: str, *, enabled: bool) -> None:
    app = open_app(context)
    changes = app.run(set_enabled(app, _entry(app.schedule_entries(), name), enabled=enabled))
    state = "enabled" if enabled else "paused"
    echo(f"{name}: {state}" if changes else f"{name}: was already {state}")


def _entry(entries: Sequence[ScheduleEntry], name: str) -> ScheduleEntry:
    for entry in entries:
        if entry.name == name:
            return entry
    declared = ", ".join(entry.name for entry in entries) or "none"
    raise ImproperlyConfigured(f"there is no periodic task {name!r}; the application declares: {declared}")


def _print_changes(changes: Sequence[Change], entries: Sequence[ScheduleEntry], *, as_json: bool) -> None:
    if as_json:
        echo(json_text([change.to_document() for change in changes]))
        return
    now = datetime.now(UTC)
    for entry in entries:
        if entry.timing.end is not None and entry.timing.end <= now:
            echo(f"  {entry.name} needs no schedule: it ended at {entry.timing.end.isoformat()}")
            continue
        pause = _pause_text(entry, now)
        if pause is not None:
            echo(f"  {entry.name} {pause}")
    for change in changes:
        if change.paused:
            echo(f"  {change.entry} is paused and stays paused; taskq beat resume {change.entry} resumes it")
        if change.action == "foreign":
            echo(f"! {change.entry} is kept: {change.reason}")
        if change.action in ("unchanged", "foreign"):
            continue
        why = " (no longer declared, or ended; taskq beat prune removes it)" if change.action == "prune" else ""
        schedule = change.wanted or change.live
        when = f": {schedule.when} {schedule.timezone}" if schedule is not None else ""
        echo(f"{_SIGNS[change.action]} {change.entry}  {change.name}{when}{why}")
        for part, (was, will) in change.differences.items():
            echo(f"    {part}: {_value_text(was)} -> {_value_text(will)}")
    counts = {action: sum(change.action == action for change in changes) for action in (*_SIGNS, "unchanged")}
    echo(
        ", ".join(f"{count} to {action}" for action, count in counts.items() if action != "unchanged" and count)
        or "no changes"
    )


def _pause_text(entry: ScheduleEntry, now: datetime) -> str | None:
    """A sentence about the hour in which a crontab pauses, because the clock is set back."""
    if not isinstance(entry.schedule, crontab):
        return None
    pause = silent_hour(entry.schedule, now)
    if pause is None:
        return None
    last, following = (each.isoformat(timespec="minutes") for each in pause)
    way_out = "with crontab(..., both_hours=True) it runs in the repeated hour, too"
    if entry.schedule.hour != HOUR.all:
        way_out = "an interval, or a crontab in UTC, goes on"
    return (
        f"pauses when the clock of {entry.schedule.timezone} is set back: after {last} it runs next at {following}; "
        f"{way_out}"
    )


def _value_text(value: Any) -> str:
    text = serializers.strict(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _states(app: TaskQ) -> dict[str, str]:
    states: dict[str, str] = {}
    for schedule in app.run(live_schedules(app)).values():
        entry = ownership.source_of(schedule).entry
        if entry is not None:
            disabled = "paused" if ownership.is_paused(schedule) else "disabled"
            states[entry] = "enabled" if schedule.enabled else disabled
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
