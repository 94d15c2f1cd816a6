"""Tasks due later than a queue can delay, on the local AWS stack: scheduled, sent, run on time, revoked and counted."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from emulators.call_counter import CallCounter
from taskq_cloud import SendError, TaskQ, group
from taskq_cloud.core.workflows.revocation import revocation
from taskq_cloud.errors import ScheduleGroupNotFound
from tests.conftest import StackAddress
from tests.stores.schedules.late_app import make_app

TIMEOUT_SECONDS = 30
A_YEAR_SECONDS = 365 * 86_400


@pytest.fixture
def environment(
    request: pytest.FixtureRequest,
    make_queue: Callable[..., str],
    make_schedule_group: Callable[..., str],
    make_table: Callable[..., str],
    aws_environment: dict[str, str],
) -> dict[str, str]:
    return {
        "LATE_APP_QUEUE": make_queue(getattr(request, "param", "work")),
        "LATE_APP_GROUP": make_schedule_group(),
        "LATE_APP_RESULTS": f"dynamodb://{make_table()}",
    }


@pytest.fixture
def app(environment: dict[str, str]) -> Iterator[TaskQ]:
    app = make_app(*environment.values())
    with closing(app):
        yield app


def names(app: TaskQ) -> list[str]:
    assert app.scheduler is not None
    return list(app.run(app.scheduler.names()).names)


def start_worker(environment: dict[str, str], tmp_path: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "taskq_cloud",
        "worker",
        "-A",
        "tests.stores.schedules.late_app:app",
        "-P",
        "threads",
    ]
    with (tmp_path / "worker.log").open("ab") as log:
        return subprocess.Popen([*command, "-c", "2"], env={**os.environ, **environment}, stdout=log, stderr=log)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.needs("fires_schedules")
@pytest.mark.parametrize("environment", ["work", "work.fifo"], indirect=True)
def test_late_task_survives_a_killed_worker_and_runs_on_time(
    app: TaskQ, environment: dict[str, str], tmp_path: Path
) -> None:
    due = time.time() + 6
    late = app.send_task("remind", countdown=6)
    revoked = app.send_task("remind", countdown=6)
    never = app.send_task("remind", countdown=A_YEAR_SECONDS, expires=5)
    assert len(names(app)) == 3
    first = start_worker(environment, tmp_path)
    try:
        assert revoked.revoke() is True
        assert len(names(app)) == 2
        end(first)  # SIGKILL, while only the scheduler has the message
        second = start_worker(environment, tmp_path)
        try:
            ran_at = late.get(timeout=TIMEOUT_SECONDS)
            flaky = app.send_task("flaky")
            assert flaky.get(timeout=TIMEOUT_SECONDS) == 1
            assert never.get(timeout=TIMEOUT_SECONDS, propagate=False).args == ("expired",)
        finally:
            end(second)
    finally:
        end(first)
    assert ran_at >= due
    assert revoked.state == never.state == "REVOKED"
    assert names(app) == []


@pytest.mark.needs("fires_schedules")
def test_task_that_fires_during_its_revocation_does_not_run(
    app: TaskQ, environment: dict[str, str], tmp_path: Path
) -> None:
    late = app.send_task("remind", countdown=2)
    app.run(app.store.save([revocation(late.id, None)]))  # only the first half of revoke()
    witness = app.send_task("remind", countdown=3)
    worker = start_worker(environment, tmp_path)
    try:
        witness.get(timeout=TIMEOUT_SECONDS)
    finally:
        end(worker)
    assert late.load().result.args == ("revoked",)


def test_task_due_in_a_year_takes_one_call_after_the_first(
    environment: dict[str, str], local_stack: StackAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CallCounter(local_stack.endpoint_url) as counter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", counter.endpoint_url)
        with closing(make_app(*environment.values())) as app:
            app.send_task("remind", countdown=A_YEAR_SECONDS)
            assert counter.total() == 3  # GetQueueUrl and QueueArn are called only once in a process
            counter.reset()
            late = app.send_task("remind", countdown=A_YEAR_SECONDS)
            assert counter.total() == 1
            counter.reset()
            assert late.revoke() is True
            assert counter.total() == 3  # save the record, list the task's schedules, delete the one found


def test_group_is_scheduled_and_revoked_as_a_whole(app: TaskQ) -> None:
    results = group(app.tasks["remind"].s().set(countdown=A_YEAR_SECONDS) for _ in range(3)).apply_async()
    assert len(names(app)) == 3
    assert results.revoke() == 3
    assert names(app) == []


def test_late_task_is_sent_and_revoked_on_an_event_loop(app: TaskQ) -> None:
    async def call() -> None:
        late = await app.asend_task("remind", countdown=A_YEAR_SECONDS)
        assert await late.arevoke()
        assert not await late.arevoke()
        await app.aclose()

    asyncio.run(call())
    assert names(app) == []


def test_revocation_without_result_store_deletes_the_schedule(environment: dict[str, str]) -> None:
    with closing(make_app(environment["LATE_APP_QUEUE"], environment["LATE_APP_GROUP"], "disabled://")) as app:
        late = app.send_task("remind", countdown=A_YEAR_SECONDS)
        assert late.revoke() is True
        assert late.revoke() is False


def test_task_due_too_soon_for_a_schedule_is_sent_to_the_queue(app: TaskQ) -> None:
    app.send_task("remind", countdown=0.4)
    assert names(app) == []


@pytest.mark.needs("names_missing_groups")
def test_missing_schedule_group_is_an_error_of_the_call(
    environment: dict[str, str], aws_environment: dict[str, str]
) -> None:
    with closing(make_app(environment["LATE_APP_QUEUE"], "nobodys", "disabled://")) as app:
        with pytest.raises(ScheduleGroupNotFound, match="create-schedule-group --name nobodys") as caught:
            app.send_task("remind", countdown=A_YEAR_SECONDS)
        assert "was not sent" in caught.value.__notes__[0]
        with pytest.raises(SendError) as several:
            app.tasks["remind"].map_async([(), ()], countdown=A_YEAR_SECONDS)
        assert len(several.value.failures) == 2
