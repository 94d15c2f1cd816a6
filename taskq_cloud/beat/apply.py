"""Applies an application's declarations to a store of schedules: reads, plans and writes schedules, with checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from taskq_cloud.beat import ownership
from taskq_cloud.beat.ownership import Identity, Owner, is_paused, owner_of, source_of, with_owner
from taskq_cloud.beat.plan import Change, differences_of, plan
from taskq_cloud.beat.platform_schedules import platform_schedules, schedule_prefix
from taskq_cloud.beat.tick_messages import application_name, queue_of
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import KnowsTargets, ScheduleStore
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.errors import ImproperlyConfigured, ScheduleConflict
from taskq_cloud.runtime.protocols import Application

NAMES_AT_ONCE: Final = 100
"""The number of schedule names that one call lists."""


def store_of(app: Application) -> ScheduleStore:
    """Return the application's store of schedules, and check that it can keep periodic schedules.

    Raises:
        ImproperlyConfigured: the application has no such store, or no name.
    """
    store = app.scheduler
    if store is None or not store.capabilities.expressions:
        raise ImproperlyConfigured(
            "this application has no scheduler for its periodic tasks: set TASKQ_SCHEDULER, for example to "
            "eventbridge://my-group?role=arn:aws:iam::123456789012:role/my-scheduler or "
            "cloudscheduler://my-project/europe-west1; or send the tasks from one machine with taskq beat run"
        )
    if app.main is None:
        raise ImproperlyConfigured(
            "the application has no name, so its schedules can't be told from those of other applications: name it, as "
            'in TaskQ("shop")'
        )
    return store


def identity_of(app: Application) -> Identity:
    """Make the identity of an application, which tells it from others of the same name."""
    return Identity(
        name=application_name(app), broker=app.conf.broker, tasks=app.tasks, is_registered=app.is_registered
    )


def live_schedules(app: Application) -> Flow[dict[str, PlatformSchedule]]:
    """Read the application's periodic schedules, by name.

    Raises:
        ScheduleGroupNotFound: the schedule group, or the location, doesn't exist.
    """
    store, names, cursor = store_of(app), list[str](), None
    while True:
        page = yield from store.names(schedule_prefix(application_name(app)), limit=NAMES_AT_ONCE, cursor=cursor)
        names += page.names
        cursor = page.cursor
        if cursor is None:
            return (yield from store.load(names))


def wanted_schedules(
    app: Application, entries: Sequence[ScheduleEntry], now: datetime, owner: Owner = "beat"
) -> Flow[list[tuple[str, PlatformSchedule]]]:
    """Make and check the schedules that entries need, each with its entry's name, as the platform will return them.

    Args:
        app: the application.
        entries: the entries.
        now: the time.
        owner: the tool that keeps the schedules.

    Raises:
        QueueNotFound: a queue doesn't exist.
        ImproperlyConfigured: an entry can't be kept; the error names it, and says why.
        PayloadTooLarge: an entry's message is too large.
    """
    store, broker = store_of(app), app.broker
    expressions = store.capabilities.expressions
    assert expressions  # store_of() has checked this
    targets: dict[str, str] = {}
    found: dict[str, str] = {}
    wanted = []
    for entry in entries:
        queue = queue_of(app, entry)
        if queue not in targets:
            targets[queue] = (yield from broker.target_of(queue)) if isinstance(broker, KnowsTargets) else queue
        longest_eta = broker.capabilities.longest_eta(queue)
        for each in platform_schedules(app, entry, expressions, targets[queue], now, longest_eta):
            other = found.setdefault(each.name, entry.name)
            if other != entry.name:
                raise ImproperlyConfigured(
                    f"the schedules of the periodic tasks {other!r} and {entry.name!r} would have the same name: "
                    "rename one of the tasks"
                )
            try:
                wanted.append((entry.name, store.kept(with_owner(each, owner, identity_of(app)))))
            except Exception as error:
                error.add_note(f"periodic task {entry.name!r}")
                raise
    return wanted


def schedules_for_terraform(app: Application, entries: Sequence[ScheduleEntry]) -> list[PlatformSchedule]:
    """Make the schedules that entries need, for Terraform: the target is the queue's name. Makes no calls.

    Raises:
        ImproperlyConfigured: the application has no scheduler, on which the form of the expressions depends.
    """
    if not entries:
        return []
    expressions = app.scheduler.capabilities.expressions if app.scheduler is not None else ""
    if not expressions:
        raise ImproperlyConfigured(
            "deployment: schedules='terraform' needs a scheduler for the periodic tasks: set TASKQ_SCHEDULER to "
            "eventbridge://group?role=ARN or cloudscheduler://project/location"
        )
    now = datetime.now(UTC)
    return [
        with_owner(each, "terraform")
        for entry in entries
        for each in platform_schedules(app, entry, expressions, queue_of(app, entry), now)
    ]


def make_plan(
    app: Application, entries: Sequence[ScheduleEntry], now: datetime, *, take_over: bool = False
) -> Flow[list[Change]]:
    """Plan the changes of the platform's schedules, without making them.

    Args:
        app: the application.
        entries: the declared entries.
        now: the time.
        take_over: whether the application may take schedules that seem to belong to another application of its name.

    Raises:
        ImproperlyConfigured: Terraform keeps the application's schedules, or an entry can't be kept.
        ScheduleConflict: a schedule that the application needs belongs to another application, or to another tool.
        OperationalError: a queue or the schedule group doesn't exist, or the platform can't be asked.
    """
    if app.conf.deployment.get("schedules") == "terraform":
        raise ImproperlyConfigured(
            "deployment: schedules='terraform': Terraform keeps this application's schedules; change them by applying "
            "the output of taskq topology"
        )
    wanted = yield from wanted_schedules(app, entries, now)
    live = yield from live_schedules(app)
    return plan(wanted, live, identity_of(app), take_over=take_over)


def carry_out(store: ScheduleStore, changes: Sequence[Change]) -> Flow[int]:
    """Make the changes of a plan.

    The first change is made alone, so that a role that can't be passed, or a quota, fails before anything is changed.

    Returns:
        The number of changes that were made here. Another process may have made some of them since the plan.

    Raises:
        ScheduleConflict: another process has written one of the schedules differently since the plan.
        TaskQError: a change was refused; the error says how many changes were made before it.
    """
    changes = yield from _still_to_make(store, changes)
    written = [change for change in changes if change.wanted is not None]
    done = 0
    for portion in (written[:1], written[1:]):
        for replacing in (False, True):
            chosen = [change for change in portion if (change.live is not None) == replacing]
            schedules = [change.wanted for change in chosen if change.wanted is not None]
            if schedules:
                answers = yield from store.put(schedules, replace=replacing)
                done = _count(chosen, answers, done, len(changes))
    removed = [change for change in changes if change.wanted is None]
    if removed:
        _count(removed, (yield from store.delete([change.name for change in removed])), done, len(changes))
    yield from _check_made(store, [change for change in written if change.live is None])
    return len(changes)


def set_enabled(app: Application, entry: ScheduleEntry, *, enabled: bool) -> Flow[list[Change]]:
    """Pause or resume an entry, and return the changes that this took.

    Args:
        app: the application.
        entry: the entry.
        enabled: True to resume the entry, False to pause it.

    Raises:
        ScheduleConflict: the entry's schedules belong to another application of the same name, or to Terraform.
        ImproperlyConfigured: the entry has no schedules, or can't be resumed because it is declared as disabled.
    """
    live = yield from live_schedules(app)
    schedules = {name: each for name, each in live.items() if source_of(each).entry == entry.name}
    if not schedules:
        raise ImproperlyConfigured(
            f"periodic task {entry.name!r} has no schedule on the platform: create it with taskq beat apply"
        )
    for each in schedules.values():
        ownership.check(each, identity_of(app), removing=False)
    if enabled and not entry.enabled:
        raise ImproperlyConfigured(
            f"periodic task {entry.name!r} is declared with enabled=False: remove that from its declaration, and use "
            "taskq beat apply"
        )
    foreign = [name for name, each in schedules.items() if owner_of(each) != "beat"]
    if foreign:
        raise ScheduleConflict(
            f"schedule {foreign[0]} is not kept by taskq beat: change it with the tool that keeps it"
        )
    changes = [
        Change(
            action="update",
            name=name,
            entry=entry.name,
            live=each,
            wanted=replace(each, enabled=enabled),
            differences={"enabled": (each.enabled, enabled)},
        )
        for name, each in sorted(schedules.items())
        if (is_paused(each) if enabled else each.enabled)
    ]
    yield from carry_out(store_of(app), changes)
    return changes


def _still_to_make(store: ScheduleStore, changes: Sequence[Change]) -> Flow[list[Change]]:
    """Leave out changes that were made since the plan: two processes may apply the same plan at the same time."""
    current = yield from store.load([change.name for change in changes if change.live is not None])
    left = []
    for change in changes:
        found = current.get(change.name)
        if found != change.live and change.live is not None:
            if (found is None and change.wanted is None) or (
                found is not None and change.wanted is not None and not differences_of(found, change.wanted)
            ):
                continue
            raise ScheduleConflict(
                f"schedule {change.name} was changed by another process since the plan was made; nothing was changed: "
                "make a new plan"
            )
        left.append(change)
    return left


def _check_made(store: ScheduleStore, made: Sequence[Change]) -> Flow[None]:
    """Check the created schedules, because ``put`` keeps a schedule of that name that was created since the plan."""
    found = yield from store.load([change.name for change in made])
    for change in made:
        live = found.get(change.name)
        if change.wanted is not None and (live is None or differences_of(live, change.wanted)):
            raise ScheduleConflict(
                f"schedule {change.name} (periodic task {change.entry!r}) was created by another process at the same "
                "time, and differs; it was left as it is: make a new plan"
            )


def _count(changes: Sequence[Change], answers: Sequence[object], done: int, total: int) -> int:
    """Add the changes that were made to ``done``; raises the error of the first change that was refused."""
    failed = [(change, answer) for change, answer in zip(changes, answers, strict=True) if isinstance(answer, Refused)]
    done += len(changes) - len(failed)
    if failed:
        change, refused = failed[0]
        made = f"{done} of {total} changes were made" if done else "nothing was changed"
        refused.error.add_note(f"periodic task {change.entry!r}; {made}: the next taskq beat apply makes the rest")
        raise refused.error
    return done
