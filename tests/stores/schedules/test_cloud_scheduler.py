"""Cloud Scheduler: the contract on a server of ours, the shape of its calls, crashes between them, and its failures."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud.scheduler_v1 import Job, ListJobsResponse

from taskq_cloud import TaskQ
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble, run
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import ScheduleStore
from taskq_cloud.errors import (
    AccessDenied,
    DelayTooLong,
    ImproperlyConfigured,
    MissingExtra,
    OperationalError,
    PayloadTooLarge,
    QueueNotFound,
    QuotaExceeded,
    ScheduleGroupNotFound,
    Unreachable,
)
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import job_id, name_of
from taskq_cloud.stores.schedules.registry import scheduler_from_url
from taskq_cloud.testing.contracts.schedule_store import ScheduleStoreContract
from taskq_cloud.testing.driving import Drive, driving
from tests.stores.schedules.cloud_scheduler_server import STATES, CloudSchedulerServer

WORK = "projects/my-project/topics/shop-work"
PARENT = "projects/my-project/locations/europe-west1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudSchedulerServer]:
    with CloudSchedulerServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


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


class TestWhereAnUpdateEnables(TestCloudScheduler):
    @pytest.fixture
    def store(self, server: CloudSchedulerServer) -> ScheduleStore:
        server.updating_paused = "enables"
        return scheduler_from_url(server.url, {})


class TestWhereWhatIsPausedCanNotBeUpdated(TestCloudScheduler):
    @pytest.fixture
    def store(self, server: CloudSchedulerServer) -> ScheduleStore:
        server.updating_paused = "fails"
        return scheduler_from_url(server.url, {})


def jobs(url: str = "cloudscheduler://my-project/europe-west1") -> ScheduleStore:
    return scheduler_from_url(url, {})


def nightly(**changes: Any) -> PlatformSchedule:
    schedule = PlatformSchedule(name="beat.shop.a_b.0", when="0 3 * * *", target=WORK, body='{"id": "t-1"}')
    return replace(schedule, **changes)


class Recorded:
    """Answers a flow's steps; keeps what was called."""

    def __init__(self, answer: Callable[[Call], Any]) -> None:
        self._answer = answer
        self.calls: list[Call] = []

    def __call__(self, step: Any) -> Any:
        if isinstance(step, Sleep):
            return None
        calls = step.calls if isinstance(step, Gather) else [step]
        self.calls += calls
        answers = [self._answer(call) for call in calls]
        if isinstance(step, Gather):
            return answers
        if isinstance(answers[0], CallError):
            raise answers[0]
        return answers[0]

    @property
    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]


def failing(code: str, message: str = "in the service's own words", trouble: Trouble = Trouble.REFUSED) -> Any:
    return lambda call: CallError(call, code, message, trouble)


# The shape of a call


def test_a_schedule_is_a_job_that_publishes_its_body() -> None:
    recorded = Recorded(lambda _call: Job(state=STATES.ENABLED))

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


def test_every_name_has_an_id_of_its_own_and_comes_back() -> None:
    names = ["".join(signs) for size in range(1, 6) for signs in itertools.product("a-_.", repeat=size)]
    ids = [job_id(name) for name in names]
    assert len(set(ids)) == len(names)
    assert [name_of(f"{PARENT}/jobs/{each}") for each in ids] == names
    assert [name_of(each) for each in ("my_job", "a_", "a___", "x" * 65, "")] == [None] * 5


def test_an_update_writes_over_every_part_of_a_job() -> None:
    recorded = Recorded(lambda _call: Job(state=STATES.ENABLED))

    run(jobs().put([nightly()], replace=True), recorded)

    (call,) = recorded.calls
    request = call.parameters["request"]
    assert call.operation == "update_job"
    assert set(request["update_mask"]["paths"]) == request["job"].keys() - {"name"}


def test_a_wave_has_twenty_calls() -> None:
    recorded = Recorded(lambda _call: Job(state=STATES.ENABLED))
    waves = []

    def perform(step: Any) -> Any:
        waves.append(len(step.calls))
        return recorded(step)

    assert run(jobs().put([nightly(name=f"n{number}") for number in range(25)]), perform) == [None] * 25
    assert waves == [20, 5]


def test_the_state_of_a_job_takes_as_few_calls_as_it_can() -> None:
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
        state, recorded = was, Recorded(answer)
        assert run(jobs().put([schedule], replace=True), recorded) == [None]
        assert recorded.operations == operations


def test_few_are_read_one_by_one_and_many_out_of_the_list() -> None:
    names = [f"n{number}" for number in range(30)]
    found = [Job(name=f"{PARENT}/jobs/{job_id(name)}", state=STATES.ENABLED) for name in ["other", *names[1:]]]

    def answer(call: Call) -> Any:
        if call.operation == "get_job":
            return Job(name=call.parameters["request"]["name"], state=STATES.ENABLED)
        first = not call.parameters["request"]["page_token"]
        page = found[:15] if first else found[15:]
        return ListJobsResponse(jobs=page, next_page_token="more" if first else "")

    few, many = Recorded(answer), Recorded(answer)
    assert list(run(jobs().load(names[:3]), few)) == names[:3]
    assert few.operations == ["get_job"] * 3
    assert list(run(jobs().load(names), many)) == names
    # What was made just now need not be in the list.
    assert many.operations == ["list_jobs", "list_jobs", "get_job"]


def test_a_job_of_somebody_elses_is_shown_as_it_is_and_passed_over_where_its_name_is_none_of_ours() -> None:
    theirs = Job(
        name=f"{PARENT}/jobs/warm-up", schedule="every 5 minutes", time_zone="utc", http_target={"uri": "https://x"}
    )
    (found,) = run(jobs().load(["warm-up"]), Recorded(lambda _call: theirs)).values()
    assert (found.when, found.timezone, found.target, found.body) == ("every 5 minutes", "UTC", "https://x", "")

    listed = ListJobsResponse(jobs=[Job(name=f"{PARENT}/jobs/my_job"), theirs], next_page_token="more")
    page = run(jobs().names(limit=9999), Recorded(lambda _call: listed))
    assert (page.names, page.cursor) == (["warm-up"], "more")


def test_a_job_that_google_has_put_out_of_use_is_to_be_written_over() -> None:
    for state in (STATES.DISABLED, STATES.UPDATE_FAILED):
        (found,) = run(jobs().load(["a"]), Recorded(lambda _call, state=state: Job(state=state))).values()
        assert (found.enabled, found.sender) == (True, state.name), "nobody has paused it"


# Crashes


class Died(BaseException):
    """The process has ended."""


def crashing(store: ScheduleStore, flow: Flow[Any], calls: int) -> bool:
    """Drive a flow up to and including so many calls; whether it ended before."""
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
def test_a_process_that_dies_anywhere_leaves_no_disabled_schedule_that_fires(
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
            assert server.fire_what_is_due(three_in_the_morning) == []
        for again in (store.put([schedule], replace=True), store.put([schedule])):
            with driving("sync", store.services) as drive:
                assert drive(again) == [None]
                assert drive(store.load([schedule.name])) == {schedule.name: store.kept(schedule)}
        assert server.fire_what_is_due(three_in_the_morning) == []
        if ended:
            break
    assert calls >= 3


def test_a_process_that_dies_while_it_resumes_leaves_what_the_next_one_sees(server: CloudSchedulerServer) -> None:
    store, topic = jobs(server.url), server.pubsub.make_topic("work")
    with driving("sync", store.services) as drive:
        paused = nightly(target=topic, enabled=False)
        drive(store.put([paused]))
        assert not crashing(store, store.put([nightly(target=topic)], replace=True), 1)
        assert drive(store.load([paused.name])) == {paused.name: store.kept(paused)}


def test_an_answer_that_was_lost_makes_no_difference(server: CloudSchedulerServer) -> None:
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


def test_an_update_that_failed_is_done_by_the_next(server: CloudSchedulerServer) -> None:
    store, topic = jobs(server.url), server.pubsub.make_topic("work")
    schedule = nightly(target=topic)
    with driving("sync", store.services) as drive:
        drive(store.put([schedule]))
        next(iter(server.jobs.values())).state = STATES.UPDATE_FAILED
        assert drive(store.load([schedule.name])) != {schedule.name: store.kept(schedule)}
        drive(store.put([schedule], replace=True))
        assert drive(store.load([schedule.name])) == {schedule.name: store.kept(schedule)}


# Failures


@pytest.mark.parametrize(
    ("code", "message", "trouble", "kind", "says"),
    [
        ("NOT_FOUND", "Resource not found (resource=work).", "REFUSED", QueueNotFound, f"topics create {WORK}"),
        (
            "INVALID_ARGUMENT",
            "Location 'mars-west1' is not a valid location.",
            "REFUSED",
            ScheduleGroupNotFound,
            "gcloud scheduler locations list",
        ),
        ("INVALID_ARGUMENT", "projects/p/locations/l/jobs/x: bad cron", "REFUSED", ImproperlyConfigured, "refuses it"),
        (
            "PERMISSION_DENIED",
            "The principal lacks IAM permission",
            "REFUSED",
            AccessDenied,
            r"cloudscheduler\.jobs\.create was denied: grant roles/cloudscheduler\.admin",
        ),
        (
            "PERMISSION_DENIED",
            "Cloud Scheduler API has not been used in project 1 before or it is disabled.",
            "REFUSED",
            AccessDenied,
            r"gcloud services enable cloudscheduler\.googleapis\.com --project my-project",
        ),
        ("RESOURCE_EXHAUSTED", "Quota exceeded", "THROTTLED", QuotaExceeded, "or of calls .*remove jobs"),
        ("UNAUTHENTICATED", "no token", "CREDENTIALS", AccessDenied, "credentials were not accepted for create_job"),
        ("UNAVAILABLE", "", "TRANSIENT", Unreachable, "no answer from Cloud Scheduler to create_job"),
        ("UNIMPLEMENTED", "", "REFUSED", OperationalError, "create_job failed .*UNIMPLEMENTED"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else "",
)
def test_a_failure_says_what_to_do(code: str, message: str, trouble: str, kind: type[Exception], says: str) -> None:
    (refused,) = run(jobs().put([nightly()]), Recorded(failing(code, message, Trouble[trouble])))
    assert type(refused.error) is kind
    where = f"schedule {nightly().name} in Cloud Scheduler, project my-project, location europe-west1: .*{says}"
    with pytest.raises(kind, match=where):
        raise refused.error


def test_no_failure_of_a_listing_or_a_removal_hides() -> None:
    with pytest.raises(ScheduleGroupNotFound, match="finds no project my-project, or no location"):
        run(jobs().names(), Recorded(failing("NOT_FOUND", "Requested entity was not found.")))
    with pytest.raises(AccessDenied, match=r"cloudscheduler\.jobs\.get was denied"):
        run(jobs().load(["x"]), Recorded(failing("PERMISSION_DENIED")))
    with pytest.raises(Unreachable, match="throttled get_job"):
        run(jobs().load(["x"]), Recorded(failing("RESOURCE_EXHAUSTED", trouble=Trouble.THROTTLED)))
    (refused,) = run(jobs().delete(["x"]), Recorded(failing("PERMISSION_DENIED")))
    assert "cloudscheduler.jobs.delete was denied" in str(refused.error)


RATE = "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute' of service"


def test_where_a_minutes_calls_are_used_up_the_next_minute_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    steps: list[Any] = []

    def perform(step: Any) -> Any:
        steps.append(step)
        if isinstance(step, Sleep):
            return None
        minutes = sum(isinstance(each, Sleep) for each in steps)
        made = sum(len(each.calls) for each in steps[:-1] if isinstance(each, Gather))
        room = 50 * (minutes + 1) - made
        limited = failing("RESOURCE_EXHAUSTED", RATE, Trouble.THROTTLED)
        return [Job(state=STATES.ENABLED) if number < room else limited(call) for number, call in enumerate(step.calls)]

    assert run(jobs().put([nightly(name=f"n{number}") for number in range(100)]), perform) == [None] * 100
    assert [step.seconds for step in steps if isinstance(step, Sleep)] == [60, 60]
    assert "takes no more calls this minute" in caplog.text


def test_it_is_not_waited_for_ever() -> None:
    recorded = Recorded(failing("RESOURCE_EXHAUSTED", RATE, Trouble.THROTTLED))
    (refused,) = run(jobs().put([nightly()]), recorded)
    assert isinstance(refused.error, QuotaExceeded)
    assert len(recorded.calls) == 11


@pytest.mark.parametrize(("operation", "permission"), [("pause_job", "pause"), ("resume_job", "enable")])
def test_so_it_is_where_a_state_can_not_be_changed(operation: str, permission: str) -> None:
    def answer(call: Call) -> Any:
        state = STATES.PAUSED if operation == "resume_job" else STATES.ENABLED
        return failing("PERMISSION_DENIED")(call) if call.operation == operation else Job(state=state)

    for replacing in (True, False):
        schedule = nightly(enabled=operation == "resume_job")
        if replacing or operation == "pause_job":
            (refused,) = run(jobs().put([schedule], replace=replacing), Recorded(answer))
            assert f"cloudscheduler.jobs.{permission} was denied" in str(refused.error)


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"name": "a/b"}, ImproperlyConfigured, "'a/b' is no name"),
        ({"target": "arn:aws:sqs:eu-west-1:1:work"}, ImproperlyConfigured, "pubsub://project/prefix"),
        ({"target": "projects/other-one/topics/x"}, ImproperlyConfigured, "cloudscheduler://other-one/europe-west1"),
        ({"target": f"{WORK}.fifo"}, ImproperlyConfigured, "no ordering key"),
        ({"group": "tenant"}, ImproperlyConfigured, "no ordering key"),
        ({"when": datetime(2030, 1, 1, tzinfo=UTC)}, ImproperlyConfigured, "cloud_tasks_queue"),
        ({"end": datetime(2030, 1, 1, tzinfo=UTC)}, ImproperlyConfigured, "no start, no end"),
        ({"window_minutes": 1}, ImproperlyConfigured, "no flexible window"),
        ({"attributes": {"googly": "x"}}, ImproperlyConfigured, "'googly'"),
        ({"attributes": {"a": "ü" * 600}}, ImproperlyConfigured, "'a' has 1200 bytes"),
        ({"attributes": {str(number): "x" for number in range(101)}}, ImproperlyConfigured, "101 attributes"),
        ({"body": ""}, ImproperlyConfigured, "neither a body"),
        ({"body": "ü" * 500_000}, PayloadTooLarge, "has 1000000 bytes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_with_a_schedule_is_said_before_a_call(
    changes: dict[str, Any], kind: type[Exception], says: str
) -> None:
    recorded = Recorded(lambda _call: Job(state=STATES.ENABLED))
    refused, kept = run(jobs().put([nightly(**changes), nightly()]), recorded)
    assert kept is None
    assert len(recorded.calls) == 1
    with pytest.raises(kind, match=says):
        raise refused.error
    with pytest.raises(kind, match=says):
        jobs().kept(nightly(**changes))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("cloudscheduler://", "'' is no id of a Google Cloud project"),
        ("cloudscheduler://My_Project/europe-west1", "'My_Project' is no id"),
        ("cloudscheduler://my-project", "'' is no location: write cloudscheduler://my-project/europe-west1"),
        ("cloudscheduler://my-project/europe-west1/jobs", "'europe-west1/jobs' is no location"),
        ("cloudscheduler://user:pass@my-project/europe-west1", "credentials don't belong into the URL"),
        ("cloudscheduler://my-project/europe-west1?role=x", "unknown option 'role'"),
    ],
)
def test_a_url_that_is_wrong_says_how(url: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(ImproperlyConfigured, match=says):
        jobs(url)


def test_the_project_may_be_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    assert jobs("cloudscheduler:///europe-west1").kept(nightly()) == nightly()


@pytest.mark.parametrize(
    ("url", "method", "kind"),
    [
        ("cloudscheduler://test-project/mars-west1", "names", ScheduleGroupNotFound),
        ("cloudscheduler://other-project/europe-west1", "names", ScheduleGroupNotFound),
    ],
)
def test_a_place_that_is_not_there_is_told_by_both_drivers(
    server: CloudSchedulerServer, url: str, method: str, kind: type[Exception]
) -> None:
    store = jobs(url)
    for colour in ("sync", "async"):
        with driving(colour, store.services) as drive, pytest.raises(kind, match=store._place.project):  # type: ignore[attr-defined]
            drive(getattr(store, method)())


def test_too_many_jobs_are_a_quota(server: CloudSchedulerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.most_jobs = 2
    store, topic = jobs(server.url), server.pubsub.make_topic("work")
    with driving("sync", store.services) as drive:
        answers = _put_impatiently(drive, store, [nightly(name=f"n{n}", target=topic) for n in range(3)])
    assert [type(each.error) if each else None for each in answers] == [None, None, QuotaExceeded]


def _put_impatiently(drive: Drive, store: ScheduleStore, schedules: list[PlatformSchedule]) -> list[Any]:
    """One at a time, so that it is the last that is refused."""
    return [drive(store.put([each]))[0] for each in schedules]


def test_without_its_package_the_error_says_what_to_install(
    server: CloudSchedulerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.scheduler_v1.services.cloud_scheduler", None)
    store = jobs(server.url)
    with driving("sync", store.services) as drive, pytest.raises(MissingExtra, match=r"taskq-cloud\[gcp\]"):
        drive(store.names())


# Late messages are not its business


def test_a_delay_goes_to_cloud_tasks_or_is_parked_and_a_revocation_asks_no_scheduler(
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
