"""The Cloud Scheduler store's failures: the service's errors, quotas, invalid schedules, and invalid URLs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud.scheduler_v1 import Job

from taskq_cloud.core.flows import Call, Gather, Sleep, Trouble, run
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import ScheduleStore
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    MissingExtra,
    OperationalError,
    PayloadTooLarge,
    QueueNotFound,
    QuotaExceeded,
    ScheduleGroupNotFound,
    Unreachable,
)
from taskq_cloud.testing.driving import Drive, driving
from tests.stores.recorder import Recorder, failing
from tests.stores.schedules.cloud_scheduler_examples import WORK, jobs, nightly
from tests.stores.schedules.cloud_scheduler_server import STATES, CloudSchedulerServer


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
        (
            "INVALID_ARGUMENT",
            "projects/p/locations/l/jobs/x: bad cron",
            "REFUSED",
            ImproperlyConfigured,
            "rejected the job",
        ),
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
def test_error_for_failed_call_says_what_to_do(
    code: str, message: str, trouble: str, kind: type[Exception], says: str
) -> None:
    (refused,) = run(jobs().put([nightly()]), Recorder(failing(code, message, Trouble[trouble])))
    assert isinstance(refused, Refused)
    assert type(refused.error) is kind
    where = f"schedule {nightly().name} in Cloud Scheduler, project my-project, location europe-west1: .*{says}"
    with pytest.raises(kind, match=where):
        raise refused.error


def test_failed_listing_load_and_removal_are_reported() -> None:
    with pytest.raises(ScheduleGroupNotFound, match="finds no project my-project, or no location"):
        run(jobs().names(), Recorder(failing("NOT_FOUND", "Requested entity was not found.")))
    with pytest.raises(AccessDenied, match=r"cloudscheduler\.jobs\.get was denied"):
        run(jobs().load(["x"]), Recorder(failing("PERMISSION_DENIED")))
    with pytest.raises(Unreachable, match="throttled get_job"):
        run(jobs().load(["x"]), Recorder(failing("RESOURCE_EXHAUSTED", trouble=Trouble.THROTTLED)))
    (refused,) = run(jobs().delete(["x"]), Recorder(failing("PERMISSION_DENIED")))
    assert isinstance(refused, Refused)
    assert "cloudscheduler.jobs.delete was denied" in str(refused.error)


RATE = "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute' of service"


def test_calls_over_the_quota_wait_for_the_next_minute(caplog: pytest.LogCaptureFixture) -> None:
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


def test_quota_that_stays_used_up_is_an_error_after_ten_pauses() -> None:
    recorded = Recorder(failing("RESOURCE_EXHAUSTED", RATE, Trouble.THROTTLED))
    (refused,) = run(jobs().put([nightly()]), recorded)
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, QuotaExceeded)
    assert len(recorded.calls) == 11


@pytest.mark.parametrize(("operation", "permission"), [("pause_job", "pause"), ("resume_job", "enable")])
def test_error_for_denied_pause_or_resume_names_the_permission(operation: str, permission: str) -> None:
    def answer(call: Call) -> Any:
        state = STATES.PAUSED if operation == "resume_job" else STATES.ENABLED
        return failing("PERMISSION_DENIED")(call) if call.operation == operation else Job(state=state)

    for replacing in (True, False):
        schedule = nightly(enabled=operation == "resume_job")
        if replacing or operation == "pause_job":
            (refused,) = run(jobs().put([schedule], replace=replacing), Recorder(answer))
            assert isinstance(refused, Refused)
            assert f"cloudscheduler.jobs.{permission} was denied" in str(refused.error)


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"name": "a/b"}, ImproperlyConfigured, "'a/b' is not a valid name"),
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
def test_invalid_schedule_is_refused_without_a_call(changes: dict[str, Any], kind: type[Exception], says: str) -> None:
    recorded = Recorder(lambda _call: Job(state=STATES.ENABLED))
    refused, kept = run(jobs().put([nightly(**changes), nightly()]), recorded)
    assert isinstance(refused, Refused)
    assert kept is None
    assert len(recorded.calls) == 1
    with pytest.raises(kind, match=says):
        raise refused.error
    with pytest.raises(kind, match=says):
        jobs().kept(nightly(**changes))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("cloudscheduler://", "'' is not the ID of a Google Cloud project"),
        ("cloudscheduler://My_Project/europe-west1", "'My_Project' is not the ID"),
        ("cloudscheduler://my-project", "'' is not a location: write cloudscheduler://my-project/europe-west1"),
        ("cloudscheduler://my-project/europe-west1/jobs", "'europe-west1/jobs' is not a location"),
        ("cloudscheduler://user:pass@my-project/europe-west1", "remove the credentials from the URL"),
        ("cloudscheduler://my-project/europe-west1?role=x", "unknown option 'role'"),
    ],
)
def test_invalid_url_is_refused_with_the_reason(url: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(ImproperlyConfigured, match=says):
        jobs(url)


def test_url_without_project_takes_it_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    assert jobs("cloudscheduler:///europe-west1").kept(nightly()) == nightly()


@pytest.mark.parametrize(
    ("url", "method", "kind"),
    [
        ("cloudscheduler://test-project/mars-west1", "names", ScheduleGroupNotFound),
        ("cloudscheduler://other-project/europe-west1", "names", ScheduleGroupNotFound),
    ],
)
def test_missing_location_or_project_is_an_error_with_both_drivers(
    server: CloudSchedulerServer, url: str, method: str, kind: type[Exception]
) -> None:
    store = jobs(url)
    for colour in ("sync", "async"):
        with driving(colour, store.services) as drive, pytest.raises(kind, match=store._location.project):  # type: ignore[attr-defined]
            drive(getattr(store, method)())


def test_job_over_the_quota_is_refused(server: CloudSchedulerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.most_jobs = 2
    store, topic = jobs(server.url), server.pubsub.make_topic("work")
    with driving("sync", store.services) as drive:
        answers = _put_one_by_one(drive, store, [nightly(name=f"n{n}", target=topic) for n in range(3)])
    assert [type(each.error) if each else None for each in answers] == [None, None, QuotaExceeded]


def _put_one_by_one(drive: Drive, store: ScheduleStore, schedules: list[PlatformSchedule]) -> list[Any]:
    """Put the schedules one at a time, so that the last one exceeds the quota."""
    return [drive(store.put([each]))[0] for each in schedules]


def test_error_without_the_google_package_names_the_extra(
    server: CloudSchedulerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.scheduler_v1.services.cloud_scheduler", None)
    store = jobs(server.url)
    with driving("sync", store.services) as drive, pytest.raises(MissingExtra, match=r"taskq-cloud\[gcp\]"):
        drive(store.names())
