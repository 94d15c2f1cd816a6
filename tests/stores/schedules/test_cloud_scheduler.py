"""The Cloud Scheduler store: the contract on an emulated server, the calls that it makes, and crashes between calls."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from google.cloud.scheduler_v1 import Job, ListJobsResponse

from taskq_cloud import TaskQ
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, Flow, run
from taskq_cloud.core.ports import ScheduleStore
from taskq_cloud.errors import DelayTooLong
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import job_id, name_of
from taskq_cloud.stores.schedules.registry import scheduler_from_url
from taskq_cloud.testing.contracts.schedule_store import ScheduleStoreContract
from taskq_cloud.testing.driving import driving
from tests.stores.recorder import Recorder
from tests.stores.schedules.cloud_scheduler_examples import PARENT, WORK, jobs, nightly
from tests.stores.schedules.cloud_scheduler_server import STATES, CloudSchedulerServer


class TestCloudScheduler(ScheduleStoreContract):
    @pytest.fixture
    def store(self, server: CloudSchedulerServer) -> ScheduleStore:
        server.largest_page = 7
        return scheduler_from_url(server.url, {})

    @pytest.fixture
    def target(self, server: CloudSchedulerServer) -> str:
        return server.pubsub.make_topic("work")

    @pytest.fixture
    def ordered_target(self, server: CloudSchedulerServer) -> str:
        return server.pubsub.make_topic("work.fifo")


@pytest.mark.slow_async
class TestCloudSchedulerEnablingUpdatedJobs(TestCloudScheduler):
    @pytest.fixture
    def store(self, server: CloudSchedulerServer) -> ScheduleStore:
        server.updating_paused = "enables"
        return scheduler_from_url(server.url, {})


@pytest.mark.slow_async
class TestCloudSchedulerRejectingUpdatesOfPausedJobs(TestCloudScheduler):
    @pytest.fixture
    def store(self, server: CloudSchedulerServer) -> ScheduleStore:
        server.updating_paused = "fails"
        return scheduler_from_url(server.url, {})


# Calls


def test_schedule_becomes_a_job_that_publishes_the_body() -> None:
    recorded = Recorder(lambda _call: Job(state=STATES.ENABLED))

    run(jobs().put([nightly(timezone="Europe/Paris", attributes={"a": "b"}, description="grün" * 200)]), recorded)

    (call,) = recorded.calls
    assert (call.service, call.operation) == ("cloud_scheduler", "create_job")
    request = call.parameters["request"]
    assert request == {
        "parent": PARENT,
        "job": {
            "name": f"{PARENT}/jobs/beat__shop__a_-b__0",
            "description": "grün" * 125,
            "schedule": "0 3 * * *",
            "time_zone": "Europe/Paris",
            "pubsub_target": {"topic_name": WORK, "data": b'{"id": "t-1"}', "attributes": {"a": "b"}},
            "retry_config": {"retry_count": 3},
        },
    }


def test_schedule_names_have_distinct_job_ids_and_are_decoded_again() -> None:
    names = ["".join(signs) for size in range(1, 6) for signs in itertools.product("a-_.", repeat=size)]
    ids = [job_id(name) for name in names]
    assert len(set(ids)) == len(names)
    assert [name_of(f"{PARENT}/jobs/{each}") for each in ids] == names
    assert [name_of(each) for each in ("my_job", "a_", "a___", "x" * 65, "")] == [None] * 5


def test_update_overwrites_every_field_of_a_job() -> None:
    recorded = Recorder(lambda _call: Job(state=STATES.ENABLED))

    run(jobs().put([nightly()], replace=True), recorded)

    (call,) = recorded.calls
    request = call.parameters["request"]
    assert call.operation == "update_job"
    assert set(request["update_mask"]["paths"]) == request["job"].keys() - {"name"}


def test_put_makes_twenty_calls_at_once() -> None:
    recorded = Recorder(lambda _call: Job(state=STATES.ENABLED))
    waves = []

    def perform(step: Any) -> Any:
        waves.append(len(step.calls))
        return recorded(step)

    assert run(jobs().put([nightly(name=f"n{number}") for number in range(25)]), perform) == [None] * 25
    assert waves == [20, 5]


def test_replacing_put_pauses_or_resumes_only_jobs_in_the_wrong_state() -> None:
    state = STATES.ENABLED

    def answer(call: Call) -> Job:
        nonlocal state
        state = {"pause_job": STATES.PAUSED, "resume_job": STATES.ENABLED}.get(call.operation, state)
        return Job(state=state)

    for schedule, was, operations in (
        (nightly(), STATES.ENABLED, ["update_job"]),
        (nightly(), STATES.PAUSED, ["update_job", "resume_job"]),
        (nightly(enabled=False), STATES.ENABLED, ["pause_job", "update_job"]),
    ):
        state, recorded = was, Recorder(answer)
        assert run(jobs().put([schedule], replace=True), recorded) == [None]
        assert recorded.operations == operations


def test_few_schedules_are_read_one_by_one_and_many_from_the_list() -> None:
    names = [f"n{number}" for number in range(30)]
    found = [Job(name=f"{PARENT}/jobs/{job_id(name)}", state=STATES.ENABLED) for name in ["other", *names[1:]]]

    def answer(call: Call) -> Any:
        if call.operation == "get_job":
            return Job(name=call.parameters["request"]["name"], state=STATES.ENABLED)
        first = not call.parameters["request"]["page_token"]
        page = found[:15] if first else found[15:]
        return ListJobsResponse(jobs=page, next_page_token="more" if first else "")

    few, many = Recorder(answer), Recorder(answer)
    assert list(run(jobs().load(names[:3]), few)) == names[:3]
    assert few.operations == ["get_job"] * 3
    assert list(run(jobs().load(names), many)) == names
    # A job that was just created may be missing from the list.
    assert many.operations == ["list_jobs", "list_jobs", "get_job"]


def test_job_of_another_program_is_loaded_unchanged_and_listed_if_its_id_is_a_name() -> None:
    theirs = Job(
        name=f"{PARENT}/jobs/warm-up", schedule="every 5 minutes", time_zone="utc", http_target={"uri": "https://x"}
    )
    (found,) = run(jobs().load(["warm-up"]), Recorder(lambda _call: theirs)).values()
    assert (found.when, found.timezone, found.target, found.body) == ("every 5 minutes", "UTC", "https://x", "")

    listed = ListJobsResponse(jobs=[Job(name=f"{PARENT}/jobs/my_job"), theirs], next_page_token="more")
    page = run(jobs().names(limit=9999), Recorder(lambda _call: listed))
    assert (page.names, page.cursor) == (["warm-up"], "more")


def job_in(state: Any, _call: Call) -> Job:
    return Job(state=state)


def test_job_disabled_by_google_differs_from_its_schedule() -> None:
    for state in (STATES.DISABLED, STATES.UPDATE_FAILED):
        (found,) = run(jobs().load(["a"]), Recorder(partial(job_in, state))).values()
        assert (found.enabled, found.sender) == (True, state.name), "nobody has paused it"


# Crashes


class Died(BaseException):
    """Stands for the end of the process."""


def crashing(store: ScheduleStore, flow: Flow[Any], calls: int) -> bool:
    """Drive a flow and stop before step number ``calls``; returns whether the flow ended earlier."""
    connections = Connections(store.services)
    made = 0

    def perform(step: Any) -> Any:
        nonlocal made
        if made == calls:
            raise Died
        made += 1

        def one() -> Flow[Any]:
            return (yield step)

        return connections.run(one())

    try:
        run(flow, perform)
    except Died:
        return False
    finally:
        connections.close()
    return True


@pytest.mark.parametrize("updating", ["keeps", "enables", "fails"])
def test_crash_between_any_calls_leaves_no_disabled_schedule_that_fires(
    server: CloudSchedulerServer, updating: Any
) -> None:
    server.updating_paused = updating
    store, topic = jobs(server.url), server.pubsub.make_topic("work")
    schedule = nightly(target=topic, when="* * * * *", enabled=False)
    three_in_the_morning = datetime(2026, 11, 28, 3, tzinfo=UTC)
    for calls in itertools.count():
        server.jobs.clear()
        ended = crashing(store, store.put([schedule]), calls)
        if updating == "keeps":
            assert server.fire_due_jobs(three_in_the_morning) == []
        for again in (store.put([schedule], replace=True), store.put([schedule])):
            with driving("sync", store.services) as drive:
                assert drive(again) == [None]
                assert drive(store.load([schedule.name])) == {schedule.name: store.kept(schedule)}
        assert server.fire_due_jobs(three_in_the_morning) == []
        if ended:
            break
    assert calls >= 3


def test_crash_before_resuming_leaves_a_paused_job_that_load_shows(server: CloudSchedulerServer) -> None:
    store, topic = jobs(server.url), server.pubsub.make_topic("work")
    with driving("sync", store.services) as drive:
        paused = nightly(target=topic, enabled=False)
        drive(store.put([paused]))
        assert not crashing(store, store.put([nightly(target=topic)], replace=True), 1)
        assert drive(store.load([paused.name])) == {paused.name: store.kept(paused)}


def test_put_with_a_lost_answer_keeps_the_schedule(server: CloudSchedulerServer) -> None:
    store, topic = jobs(server.url), server.pubsub.make_topic("work")
    with driving("sync", store.services) as drive:
        for enabled in (True, False):
            for method in ("CreateJob", "PauseJob", "UpdateJob"):
                server.jobs.clear()
                schedule = nightly(target=topic, enabled=enabled)
                server.fail_next(method, "UNAVAILABLE", after=True)
                assert drive(store.put([schedule])) == [None]
                assert drive(store.load([schedule.name])) == {schedule.name: store.kept(schedule)}
                server.fail_next(method, "UNAVAILABLE", after=True)
                assert drive(store.put([schedule], replace=True)) == [None]
                assert drive(store.load([schedule.name])) == {schedule.name: store.kept(schedule)}


def test_failed_update_is_repaired_by_the_next_put(server: CloudSchedulerServer) -> None:
    store, topic = jobs(server.url), server.pubsub.make_topic("work")
    schedule = nightly(target=topic)
    with driving("sync", store.services) as drive:
        drive(store.put([schedule]))
        next(iter(server.jobs.values())).state = STATES.UPDATE_FAILED
        assert drive(store.load([schedule.name])) != {schedule.name: store.kept(schedule)}
        drive(store.put([schedule], replace=True))
        assert drive(store.load([schedule.name])) == {schedule.name: store.kept(schedule)}


# Delayed messages


def test_delayed_message_and_its_revocation_make_no_scheduler_calls(
    server: CloudSchedulerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks_queue = f"{server.parent}/queues/later"
    monkeypatch.setenv("CLOUD_TASKS_EMULATOR_HOST", server.pubsub.host)
    server.pubsub.task_queues.add(tasks_queue)
    server.pubsub.make_queue("celery")
    later = {"cloud_tasks_queue": tasks_queue, "cloud_tasks_service_account": "later@example.com"}
    for options in (later, {}):
        app = TaskQ(
            "shop",
            broker=f"pubsub://{server.project}/",
            results="memory://",
            scheduler=server.url,
            broker_transport_options=options,
        )
        try:
            assert app.send_task("report", countdown=60).revoke()
            if options:
                assert app.send_task("report", countdown=86_400).revoke()
            else:
                with pytest.raises(DelayTooLong):
                    app.send_task("report", countdown=86_400)
        finally:
            app.close()
    assert len(server.pubsub.tasks) == 1
    assert server.calls == {}
