"""Tests of planned and applied schedules on the local stack's EventBridge Scheduler, by one or two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulators.call_counter import CallCounter
from taskq_cloud import TaskQ
from taskq_cloud.beat import apply as applying
from taskq_cloud.beat import plan as planning
from taskq_cloud.beat.plan import Change
from taskq_cloud.core.model.message import Refused
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    PayloadTooLarge,
    QueueNotFound,
    ScheduleConflict,
    ScheduleError,
    ScheduleGroupNotFound,
)
from taskq_cloud.schedules import crontab
from tests.beat.periodic_app import ROLE, make_app

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TIMEOUT_SECONDS = 60
FAR = {"task": "report", "schedule": crontab(0, 3, month_of_year=1, timezone="Europe/Paris")}


@pytest.fixture
def place(
    make_queue: Any, make_schedule_group: Any, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERIODIC_QUEUE", make_queue("work"))
    monkeypatch.setenv("PERIODIC_GROUP", make_schedule_group())


@pytest.fixture
def make(place: None) -> Iterator[Any]:
    apps: list[TaskQ] = []

    def make(**settings: Any) -> TaskQ:
        apps.append(make_app(**settings))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


def plan(app: TaskQ, **options: Any) -> list[Change]:
    return app.run(applying.make_plan(app, app.schedule_entries(), NOW, **options))


def apply(app: TaskQ, *, prune: bool = False, **options: Any) -> list[Change]:
    changes = planning.to_write(plan(app, **options), prune=prune)
    app.run(applying.carry_out(applying.store_of(app), changes))
    return changes


def actions(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.action, change.entry) for change in changes]


@pytest.mark.slow
def test_second_apply_of_a_thousand_entries_writes_nothing(
    make: Any, local_stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {f"entry {number}": {**FAR, "args": [str(number)]} for number in range(1000)}
    with CallCounter(local_stack.endpoint_url) as counter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", counter.endpoint_url)
        assert len(apply(make(beat_schedule=entries))) == 1000
        counter.reset()
        assert {change.action for change in plan(make(beat_schedule=entries))} == {"unchanged"}
        assert apply(make(beat_schedule=entries)) == []
        scheduler = [call for call in counter.counts() if "/schedules" in call]
    assert len(scheduler) == 1001, "one call for the list, and one for each schedule"
    assert all(call.startswith("GET ") for call in scheduler)


def test_changed_entry_is_replaced_and_undeclared_entry_is_pruned(make: Any) -> None:
    first = {"a": {**FAR, "end": NOW + timedelta(days=900)}, "b": FAR, "gone": FAR}
    assert actions(apply(make(beat_schedule=first))) == [("create", "a"), ("create", "b"), ("create", "gone")]
    second = make(beat_schedule={"a": {**FAR, "args": ["tax"]}, "b": FAR})
    changes = plan(second)
    assert actions(changes) == [("update", "a"), ("unchanged", "b"), ("prune", "gone")]
    assert {"end", "message.body"} <= changes[0].differences.keys()
    assert actions(apply(second)) == [("update", "a")]
    assert actions(plan(second)) == [("unchanged", "a"), ("unchanged", "b"), ("prune", "gone")]
    assert actions(apply(second, prune=True)) == [("prune", "gone")]
    assert {change.action for change in plan(second)} == {"unchanged"}


def test_unneeded_schedule_of_an_entry_is_deleted_by_next_apply(make: Any) -> None:
    apply(make(beat_schedule={"a": {"task": "report", "schedule": 90 * 60}}))
    changes = apply(make(beat_schedule={"a": {"task": "report", "schedule": crontab(0, 3)}}))
    assert [change.action for change in changes] == ["update", "delete"]


def test_new_role_is_an_update(make: Any) -> None:
    apply(make(beat_schedule={"a": FAR}))
    (change,) = plan(make(beat_schedule={"a": FAR}, role=f"{ROLE}-2"))
    assert change.differences == {"sender": (ROLE, f"{ROLE}-2")}


def test_signed_schedule_is_unchanged_until_key_changes(make: Any) -> None:
    keys = ["hmac:" + "QUFB" * 11, "hmac:" + "QkJC" * 11]
    apply(make(beat_schedule={"a": FAR}, message_signing_keys=keys[:1]))
    assert actions(plan(make(beat_schedule={"a": FAR}, message_signing_keys=keys[:1]))) == [("unchanged", "a")]
    (change,) = plan(make(beat_schedule={"a": FAR}, message_signing_keys=keys[::-1]))
    assert list(change.differences) == ["message.headers.taskq_signature"]


def test_paused_entry_stays_paused_until_resumed(make: Any) -> None:
    app = make(beat_schedule={"a": FAR, "b": FAR})
    apply(app)
    a, b = app.schedule_entries()
    assert len(app.run(applying.set_enabled(app, a, enabled=False))) == 1
    assert app.run(applying.set_enabled(app, a, enabled=False)) == []
    assert [(change.action, change.paused) for change in plan(app)] == [("unchanged", True), ("unchanged", False)]
    changed = make(beat_schedule={"a": {**FAR, "args": ["tax"]}, "b": FAR})
    apply(changed)
    (of_a,) = [each for each in app.run(applying.live_schedules(app)).values() if "task a " in each.description]
    assert not of_a.enabled
    app.run(applying.set_enabled(app, a, enabled=True))
    assert [change.paused for change in plan(changed)] == [False, False]
    assert app.run(applying.set_enabled(app, b, enabled=True)) == []


def test_entry_declared_disabled_cannot_be_resumed(make: Any) -> None:
    disabled = make(beat_schedule={"a": {**FAR, "enabled": False}})
    apply(disabled)
    with pytest.raises(ImproperlyConfigured, match="declared with enabled=False"):
        disabled.run(applying.set_enabled(disabled, disabled.schedule_entries()[0], enabled=True))
    apply(make(beat_schedule={"a": FAR}))
    (live,) = disabled.run(applying.live_schedules(disabled)).values()
    assert live.enabled


def test_same_creation_by_two_people_is_not_a_conflict(make: Any) -> None:
    first, second = make(beat_schedule={"a": FAR}), make(beat_schedule={"a": FAR})
    changes = plan(first)
    apply(second)
    first.run(applying.carry_out(applying.store_of(first), changes))
    assert actions(plan(first)) == [("unchanged", "a")]


def test_same_update_and_removal_by_two_people_is_not_a_conflict(make: Any) -> None:
    apply(make(beat_schedule={"a": FAR, "b": FAR, "gone": FAR}))
    later = {"a": {**FAR, "args": ["tax"]}, "b": FAR}
    first, second = make(beat_schedule=later), make(beat_schedule=later)
    changes = planning.to_write(plan(first), prune=True)
    assert actions(changes) == [("update", "a"), ("prune", "gone")]
    assert actions(apply(second, prune=True)) == actions(changes)
    assert first.run(applying.carry_out(applying.store_of(first), changes)) == 0
    assert {change.action for change in plan(first)} == {"unchanged"}


def test_update_of_a_schedule_removed_by_another_person_is_a_conflict(make: Any) -> None:
    apply(make(beat_schedule={"a": FAR, "gone": FAR}))
    changing, removing = make(beat_schedule={"a": {**FAR, "args": ["tax"]}}), make(beat_schedule={})
    changes = plan(changing)
    apply(removing, prune=True)
    with pytest.raises(ScheduleConflict, match="changed by another process since the plan"):
        changing.run(applying.carry_out(applying.store_of(changing), changes))


@pytest.fixture
def people(make: Any) -> Iterator[Any]:
    """Start `taskq beat apply`, which makes its plan and then waits for the answer."""
    running: list[subprocess.Popen[str]] = []

    def start(count: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "taskq_cloud", "beat", "apply", "--prune", "-A", "tests.beat.periodic_app:app"]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        prompt, shown = running[-1].stderr, ""
        assert prompt is not None
        while not shown.endswith(f"Make {count} changes? [y/N]:"):
            character = prompt.read(1)
            assert character, shown
            shown += character
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.communicate()


@pytest.mark.slow
def test_two_processes_can_apply_one_plan_at_the_same_time(
    make: Any, people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both processes plan before either is allowed to write, so each may meet any write of the other."""
    entry = {"task": "report", "schedule": "0 3 1 1 *"}
    before = {f"entry {number}": entry for number in range(30)}
    after = {f"entry {number}": {**entry, "args": ["tax"]} for number in range(10, 40)}
    for entries, count in ((before, 30), (after, 50 - 10)):
        monkeypatch.setenv("PERIODIC_ENTRIES", json.dumps(entries))
        both = [people(count) for _ in range(2)]
        for each in both:
            each.stdin.write("y\n")
            each.stdin.flush()
        for each in both:
            _, errors = each.communicate(timeout=TIMEOUT_SECONDS)
            assert each.returncode == 0, errors
    changes = plan(make(beat_schedule=after))
    assert {change.action for change in changes} == {"unchanged"}
    assert len(changes) == 30


def test_different_changes_by_two_people_are_a_conflict(make: Any) -> None:
    first, second = make(beat_schedule={"a": FAR}), make(beat_schedule={"a": {**FAR, "args": ["tax"]}})
    creating = plan(first)
    apply(second)
    with pytest.raises(ScheduleConflict, match="created by another process at the same time"):
        first.run(applying.carry_out(applying.store_of(first), creating))
    updating = plan(first)
    apply(make(beat_schedule={"a": {**FAR, "args": ["third"]}}))
    with pytest.raises(ScheduleConflict, match="changed by another process since the plan"):
        first.run(applying.carry_out(applying.store_of(first), updating))


def test_two_applications_in_one_group_change_only_their_own_schedules(make: Any) -> None:
    shop, other = make(beat_schedule={"a": FAR}), make(main="other", beat_schedule={"a": FAR})
    apply(shop)
    assert actions(plan(other)) == [("create", "a")]
    apply(other, prune=True)
    assert actions(plan(shop)) == [("unchanged", "a")]


def test_schedule_of_an_unknown_task_is_a_conflict(make: Any) -> None:
    first = make(beat_schedule={"a": {**FAR, "task": "slow"}})
    apply(first)
    second = make(beat_schedule={"a": FAR, "b": FAR})
    del second.definitions["slow"]
    with pytest.raises(ScheduleConflict, match="calls slow, which this application doesn't have"):
        plan(second)
    assert actions(plan(second, take_over=True)) == [("update", "a"), ("create", "b")]


def another(make: Any, *, tasks: tuple[str, ...], **settings: Any) -> TaskQ:
    """An application of the same name with other tasks."""
    app: TaskQ = make(**settings)
    for name in ("report", "slow"):
        del app.tasks[name], app.definitions[name]
    for name in tasks:
        app.task(name=name, time_limit=30)(lambda *_args: None)
    return app


def test_application_of_the_same_name_with_other_tasks_prunes_nothing(make: Any) -> None:
    """Their entries have different names, so that neither application needs the name of a schedule of the other."""
    first = make(beat_schedule={"a": FAR})
    apply(first)
    second = another(make, tasks=("bill", "remind", "report"), beat_schedule={"b": {**FAR, "task": "bill"}})
    assert actions(apply(second)) == [("create", "b")]
    assert actions(plan(first)) == [("unchanged", "a"), ("foreign", "b")]
    third = another(make, tasks=("bill", "remind"), beat_schedule={"b": {**FAR, "task": "bill"}})
    with pytest.raises(ScheduleConflict, match=r"\(periodic task 'a'\).* has 0 of 2.*--take-over"):
        apply(third, prune=True)
    assert set(first.run(applying.live_schedules(first))) == {each.name for each in plan(first)}
    assert actions(apply(third, prune=True, take_over=True)) == [("prune", "a")]


def test_same_application_with_another_broker_prunes_nothing(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Staging and production share a schedule group by mistake: they have the same tasks and different queues."""
    apply(make(beat_schedule={"a": FAR, "b": FAR}))
    prefix, name = os.environ["PERIODIC_QUEUE"][:8], os.environ["PERIODIC_QUEUE"][8:]
    monkeypatch.setenv("PERIODIC_QUEUE", name)
    pruning = make(beat_schedule={})
    vars(pruning.conf)["broker"] = f"sqs://eu-west-1/{prefix}"
    assert actions(plan(pruning)) == [("foreign", "a"), ("foreign", "b")]
    with pytest.raises(ScheduleConflict, match=f"whose broker is sqs://eu-west-1/, .* sqs://eu-west-1/{prefix};"):
        apply(pruning, prune=True)


def test_entry_that_is_removed_with_its_task_is_pruned(make: Any) -> None:
    """Half of the task digests in a schedule's description are enough."""
    apply(make(beat_schedule={"a": FAR, "gone": {**FAR, "task": "slow"}}))
    later = another(make, tasks=("report", "new"), beat_schedule={"a": FAR})
    assert actions(apply(later, prune=True)) == [("prune", "gone")]
    assert actions(plan(later)) == [("unchanged", "a")], (
        "a change of the application's other tasks does not change the schedule"
    )


def test_schedule_without_digests_is_pruned_only_if_its_task_is_known(make: Any) -> None:
    app = make(beat_schedule={"a": FAR, "b": {**FAR, "task": "slow"}})
    for change in plan(app):
        assert change.wanted is not None
        unmarked = replace(change.wanted, description=f"[beat] periodic task {change.entry}")
        app.run(applying.store_of(app).put([unmarked]))
    later = another(make, tasks=("report",), beat_schedule={})
    assert actions(plan(later)) == [("prune", "a"), ("foreign", "b")]


def test_entry_of_another_application_cannot_be_paused(make: Any) -> None:
    apply(make(beat_schedule={"a": FAR}))
    second = another(make, tasks=("bill", "remind"), beat_schedule={"a": {**FAR, "task": "bill"}})
    with pytest.raises(ScheduleConflict, match="has 0 of 2"):
        second.run(applying.set_enabled(second, second.schedule_entries()[0], enabled=False))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"headers": {"taskq_schedule": {"application": "theirs", "name": "x"}, "task": "report"}}', "'theirs'"),
        ("by hand", "something other than a periodic task"),
    ],
)
def test_foreign_schedule_with_our_name_is_a_conflict(make: Any, body: str, says: str) -> None:
    app = make(beat_schedule={"a": FAR})
    (change,) = plan(app)
    assert change.wanted is not None
    theirs = replace(change.wanted, body=body)
    app.run(applying.store_of(app).put([theirs]))
    with pytest.raises(ScheduleConflict, match=says):
        plan(app)


def test_schedules_kept_by_terraform_are_not_changed(make: Any) -> None:
    app = make(beat_schedule={"a": FAR})
    ((_, kept),) = app.run(applying.wanted_schedules(app, app.schedule_entries(), NOW, "terraform"))
    app.run(applying.store_of(app).put([kept]))
    with pytest.raises(ScheduleConflict, match="kept by Terraform"):
        plan(app)
    with pytest.raises(ScheduleConflict, match="not kept by taskq beat"):
        app.run(applying.set_enabled(app, app.schedule_entries()[0], enabled=False))
    assert plan(make(beat_schedule={})) == []


@pytest.mark.parametrize(
    ("entry", "kind", "says"),
    [
        ({**FAR, "options": {"queue": "nowhere"}}, QueueNotFound, "nowhere"),
        ({**FAR, "args": ["x" * 300_000]}, PayloadTooLarge, "beat.shop"),
        ({**FAR, "schedule": "0 0 30 2 *"}, ScheduleError, "'bad'"),
        ({**FAR, "schedule": 60, "timezone": "Europe/Pari"}, ScheduleError, "Europe/Paris"),
        ({**FAR, "options": {"MessageGroupId": "a b"}}, ImproperlyConfigured, "message group"),
    ],
    ids=["queue", "size", "date", "zone", "group"],
)
def test_one_bad_entry_prevents_all_changes(make: Any, entry: Any, kind: type[Exception], says: str) -> None:
    def declared() -> TaskQ:
        app: TaskQ = make(beat_schedule={"bad": entry, "good": FAR})
        return app

    with pytest.raises(kind, match=says):
        apply(declared())
    assert make(beat_schedule={}).run(applying.live_schedules(make())) == {}


@pytest.mark.needs("names_missing_groups")
def test_missing_group_scheduler_or_name_raises(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERIODIC_GROUP", "missing")
    with pytest.raises(ScheduleGroupNotFound, match="create-schedule-group --name missing"):
        plan(make(beat_schedule={"a": FAR}))
    with closing(TaskQ("shop", broker="memory://")) as local, pytest.raises(ImproperlyConfigured, match="beat run"):
        plan(local)
    with pytest.raises(ImproperlyConfigured, match="no name"):
        plan(make(main=None))


def test_refusal_of_first_change_prevents_the_others(make: Any) -> None:
    app = make(beat_schedule={"a": FAR, "b": FAR, "c": FAR})
    store, asked = applying.store_of(app), []

    def put(schedules: Any, *, replace: bool = False) -> Any:
        yield from ()
        asked.extend(schedules)
        return [Refused(AccessDenied("iam:PassRole was denied")) for _ in schedules]

    changes = plan(app)
    vars(app)["scheduler"] = store
    store.put = put  # type: ignore[method-assign]
    with pytest.raises(AccessDenied) as raised:
        app.run(applying.carry_out(store, changes))
    assert len(asked) == 1
    assert "nothing was changed" in raised.value.__notes__[0]
