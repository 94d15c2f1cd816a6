"""Plans carried out on a store of schedules: what there is, what there is to be, and the writes, with their checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from taskq_cloud.beat import ownership
from taskq_cloud.beat.declarations import application_name, platform_schedules, queue_of, schedule_prefix
from taskq_cloud.beat.ownership import Identity, Owner, entry_of, is_paused, owned, owner_of
from taskq_cloud.beat.plan import Change, differences_of, plan
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import KnowsTargets, ScheduleStore
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.errors import ImproperlyConfigured, ScheduleConflict
from taskq_cloud.runtime.protocols import Application

NAMES_AT_ONCE: Final = 100


def store_of(app: Application) -> ScheduleStore:
    """The application's store of schedules, if it can keep periodic ones.

    Raises:
        ImproperlyConfigured: it has none, or the application no name.
    """
    store = app.scheduler
    if store is None or not store.capabilities.expressions:
        raise ImproperlyConfigured(
            "no scheduler keeps this application's periodic tasks: set TASKQ_SCHEDULER, for example to "
            "eventbridge://my-group?role=arn:aws:iam::123456789012:role/my-scheduler or "
            "cloudscheduler://my-project/europe-west1; on one machine, taskq beat run sends them"
        )
    if app.main is None:
        raise ImproperlyConfigured(
            'the application has no name, which tells its schedules from other applications\': say TaskQ("shop")'
        )
    return store


def identity_of(app: Application) -> Identity:
    """What tells an application from others that may have its name."""
    return Identity(
        name=application_name(app), broker=app.conf.broker, tasks=app.tasks, is_registered=app.is_registered
    )


def live_schedules(app: Application) -> Flow[dict[str, PlatformSchedule]]:
    """The application's periodic schedules, by name.

    Raises:
        ScheduleGroupNotFound: they have no place to be.
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
    """The schedules that entries need, each with its entry's name, as the platform will tell of them; all are checked.

    Raises:
        QueueNotFound: a queue is not there.
        ImproperlyConfigured: an entry can't be kept; says which, and why.
        PayloadTooLarge: its message is too large.
    """
    store, broker = store_of(app), app.broker
    expressions = store.capabilities.expressions
    assert expressions  # for the type checker; store_of() has looked
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
                    f"the periodic tasks {other!r} and {entry.name!r} would have one schedule: rename one of them"
                )
            try:
                wanted.append((entry.name, store.kept(owned(each, owner, identity_of(app)))))
            except Exception as error:
                error.add_note(f"periodic task {entry.name!r}")
                raise
    return wanted


def schedules_for_terraform(app: Application, entries: Sequence[ScheduleEntry]) -> list[PlatformSchedule]:
    """The schedules that entries need, each with the application's name of its queue as its target; makes no call.

    Raises:
        ImproperlyConfigured: no scheduler says what expressions are to be made.
    """
    if not entries:
        return []
    expressions = app.scheduler.capabilities.expressions if app.scheduler is not None else ""
    if not expressions:
        raise ImproperlyConfigured(
            "deployment: schedules='terraform' needs a place for them: set TASKQ_SCHEDULER to "
            "eventbridge://group?role=ARN or cloudscheduler://project/location"
        )
    now = datetime.now(UTC)
    return [
        owned(each, "terraform")
        for entry in entries
        for each in platform_schedules(app, entry, expressions, queue_of(app, entry), now)
    ]


def make_plan(
    app: Application, entries: Sequence[ScheduleEntry], now: datetime, *, take_over: bool = False
) -> Flow[list[Change]]:
    """What has to change; changes nothing. Raises as the other functions here do.

    Raises:
        ImproperlyConfigured: Terraform is to keep the schedules.
    """
    if app.conf.deployment.get("schedules") == "terraform":
        raise ImproperlyConfigured(
            "deployment: schedules='terraform': Terraform keeps this application's schedules, from taskq topology"
        )
    wanted = yield from wanted_schedules(app, entries, now)
    live = yield from live_schedules(app)
    return plan(wanted, live, identity_of(app), take_over=take_over)


def carry_out(store: ScheduleStore, changes: Sequence[Change]) -> Flow[int]:
    """Make changes; how many, without those that somebody else has made meanwhile just so.

    One is made first, alone: a role that can't be passed or a quota then fails before anything is changed. What
    somebody else has changed otherwise since the plan is left to them.

    Raises:
        ScheduleConflict: somebody else has changed or made one of the schedules meanwhile, and otherwise.
        TaskQError: a change was refused; says how many had been made.
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
    """Pause or resume an entry; what had to be changed for it.

    Raises:
        ScheduleConflict: Terraform keeps its schedules, or another application of the same name.
        ImproperlyConfigured: it has none, or is to be resumed and is declared disabled.
    """
    live = yield from live_schedules(app)
    of_entry = {name: each for name, each in live.items() if entry_of(each)[1] == entry.name}
    if not of_entry:
        raise ImproperlyConfigured(f"periodic task {entry.name!r} has no schedule yet: taskq beat apply")
    for each in of_entry.values():
        ownership.check(each, identity_of(app), removing=False)
    if enabled and not entry.enabled:
        raise ImproperlyConfigured(f"periodic task {entry.name!r} is declared with enabled=False: declare it enabled")
    foreign = [name for name, each in of_entry.items() if owner_of(each) != "beat"]
    if foreign:
        raise ScheduleConflict(f"schedule {foreign[0]} is not kept by taskq beat: change it where it is kept")
    changes = [
        Change(
            action="update",
            name=name,
            entry=entry.name,
            live=each,
            wanted=replace(each, enabled=enabled),
            differences={"enabled": (each.enabled, enabled)},
        )
        for name, each in sorted(of_entry.items())
        if (is_paused(each) if enabled else each.enabled)
    ]
    yield from carry_out(store_of(app), changes)
    return changes


def _still_to_make(store: ScheduleStore, changes: Sequence[Change]) -> Flow[list[Change]]:
    """Changes without those that are made already: of one commit, two may apply the same plan at the same time."""
    now = yield from store.load([change.name for change in changes if change.live is not None])
    waiting = []
    for change in changes:
        found = now.get(change.name)
        if found != change.live and change.live is not None:
            if (found is None and change.wanted is None) or (
                found is not None and change.wanted is not None and not differences_of(found, change.wanted)
            ):
                continue
            raise ScheduleConflict(
                f"schedule {change.name} was changed by somebody else since the plan was made; nothing was changed: "
                "plan again"
            )
        waiting.append(change)
    return waiting


def _check_made(store: ScheduleStore, made: Sequence[Change]) -> Flow[None]:
    """A name that is taken is left as it is by ``put``: whether it was taken by the same schedule."""
    found = yield from store.load([change.name for change in made])
    for change in made:
        live = found.get(change.name)
        if change.wanted is not None and (live is None or differences_of(live, change.wanted)):
            raise ScheduleConflict(
                f"schedule {change.name} (periodic task {change.entry!r}) was made by somebody else at the same time, "
                "and differently; it was left as it is: plan again"
            )


def _count(changes: Sequence[Change], answers: Sequence[object], done: int, of_all: int) -> int:
    failed = [(change, answer) for change, answer in zip(changes, answers, strict=True) if isinstance(answer, Refused)]
    done += len(changes) - len(failed)
    if failed:
        change, refused = failed[0]
        made = f"{done} of {of_all} changes were made" if done else "nothing was changed"
        refused.error.add_note(f"periodic task {change.entry!r}; {made}: taskq beat apply makes the rest")
        raise refused.error
    return done
