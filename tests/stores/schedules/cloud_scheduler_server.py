"""An emulated Cloud Scheduler server over gRPC, whose jobs publish to an emulated Pub/Sub server when a test says so.

The server follows Google's API reference and Google's pages on quotas, IAM and cron. They leave open what happens to a
paused job that is updated, so a test chooses that. A test can also order failures and deny permissions. The server
counts the calls.
"""

import re
import threading
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import grpc
from google.cloud.scheduler_v1 import types as scheduler
from google.protobuf import empty_pb2

from tests.brokers.pubsub_server import PubSubServer, _abort, service_handler
from tests.brokers.pubsub_state import Fault
from tests.core.schedules import platforms

SERVICE = "google.cloud.scheduler.v1.CloudScheduler"
METHODS = ("CreateJob", "DeleteJob", "GetJob", "ListJobs", "PauseJob", "ResumeJob", "RunJob", "UpdateJob")
LARGEST_JOB_BYTES = 1_000_000
READS = frozenset({"GetJob", "ListJobs"})
STATES: Any = scheduler.Job.State
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class CloudSchedulerServer:
    """The Cloud Scheduler server together with a Pub/Sub server; a context manager.

    Attributes:
        pubsub: the server that jobs publish to.
        jobs: full name -> job.
        calls: method -> the number of calls.
        denied: the methods that are answered with PERMISSION_DENIED.
        updating_paused: whether a paused job that is updated stays paused, is enabled, or can't be updated.
        most_jobs: the quota of jobs.
        largest_page: the most jobs on a page.
    """

    def __init__(self, project: str = "test-project", location: str = "europe-west1") -> None:
        self.project, self.location = project, location
        self.pubsub = PubSubServer(project)
        self.jobs: dict[str, scheduler.Job] = {}
        self.calls: Counter[str] = Counter()
        self.denied: set[str] = set()
        self.updating_paused: Literal["keeps", "enables", "fails"] = "keeps"
        self.most_jobs = 1_000
        self.largest_page = 500
        self.host = ""
        self._faults: defaultdict[str, deque[tuple[str, str, bool]]] = defaultdict(deque)
        self._lock = threading.RLock()
        self._server: Any = None

    def __enter__(self) -> Self:
        self.pubsub.start()
        self._server = grpc.server(ThreadPoolExecutor(16), options=(("grpc.max_receive_message_length", -1),))
        requests = {method: getattr(scheduler, f"{method}Request") for method in METHODS}
        self._server.add_generic_rpc_handlers([service_handler(self.answer, SERVICE, requests)])
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
        self.pubsub.stop()

    @property
    def url(self) -> str:
        """The value for TASKQ_SCHEDULER."""
        return f"cloudscheduler://{self.project}/{self.location}"

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point clients to both servers."""
        return {"CLOUD_SCHEDULER_EMULATOR_HOST": self.host, "PUBSUB_EMULATOR_HOST": self.pubsub.host}

    @property
    def writes(self) -> dict[str, int]:
        """Method -> the number of calls, for the methods that change something."""
        return {method: count for method, count in self.calls.items() if method not in READS}

    def fail_next(self, method: str, code: str, message: str = "as ordered", *, after: bool = False) -> None:
        """Answer the next call of a method with an error, before or after the call takes effect."""
        self._faults[method].append((code, message, after))

    def fire(self, name: str) -> None:
        """Make a job publish, as at its scheduled time."""
        with self._lock:
            target = self.jobs[name].pubsub_target
        message = (target.data, dict(target.attributes), "")
        with self.pubsub._lock:
            self.pubsub.state.publish(target.topic_name, [message])

    def fire_due_jobs(self, minute: datetime) -> list[str]:
        """Make every enabled job publish that is due at a minute; returns the jobs' names."""
        with self._lock:
            enabled = [job for job in self.jobs.values() if job.state == STATES.ENABLED]
        due = [job.name for job in enabled if minute in _times(job, minute)]
        for name in due:
            self.fire(name)
        return due

    def answer(self, method: str, request: Any, context: Any) -> Any:
        with self._lock:
            self.calls[method] += 1
            code, said, after = self._faults[method].popleft() if self._faults[method] else ("", "", False)
            try:
                if code and not after:
                    raise Fault(code, said)
                if method in self.denied:
                    raise Fault("PERMISSION_DENIED", f'The principal lacks IAM permission for "{method}".')
                snake_case = re.sub("(?<!^)([A-Z])", r"_\1", method).lower()
                result = getattr(self, f"_{snake_case}")(request)
                if code:
                    raise Fault(code, said)
            except Fault as fault:
                return _abort(context, fault)
            return result

    # -- methods of the service

    def _create_job(self, request: Any) -> scheduler.Job:
        self._check_parent(request.parent)
        job = scheduler.Job(request.job)
        self._check(job)
        if job.name in self.jobs:
            raise Fault("ALREADY_EXISTS", f"Job {job.name} already exists.")
        if len(self.jobs) >= self.most_jobs:
            raise Fault("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Jobs' of the region.")
        job.state = STATES.ENABLED  # even if the request says otherwise
        self.jobs[job.name] = job
        return job

    def _update_job(self, request: Any) -> scheduler.Job:
        found = self._find(request.job.name)
        changed = scheduler.Job(found)
        for path in request.update_mask.paths:
            setattr(changed, path, getattr(request.job, path))
        self._check(changed)
        if found.state == STATES.PAUSED and self.updating_paused == "fails":
            raise Fault("FAILED_PRECONDITION", "Job must be in state ENABLED to be updated.")
        if found.state in (STATES.PAUSED, STATES.UPDATE_FAILED) and self.updating_paused == "enables":
            changed.state = STATES.ENABLED
        if found.state == STATES.UPDATE_FAILED:
            changed.state = STATES.ENABLED
        self.jobs[changed.name] = changed
        return changed

    def _get_job(self, request: Any) -> scheduler.Job:
        return self._find(request.name)

    def _delete_job(self, request: Any) -> Any:
        del self.jobs[self._find(request.name).name]
        return empty_pb2.Empty()

    def _list_jobs(self, request: Any) -> scheduler.ListJobsResponse:
        self._check_parent(request.parent)
        size = min(request.page_size or self.largest_page, self.largest_page)
        names = sorted(name for name in self.jobs if name > request.page_token)
        page = [self.jobs[name] for name in names[:size]]
        return scheduler.ListJobsResponse(jobs=page, next_page_token=page[-1].name if len(names) > size else "")

    def _pause_job(self, request: Any) -> scheduler.Job:
        return self._move(request.name, STATES.ENABLED, STATES.PAUSED)

    def _resume_job(self, request: Any) -> scheduler.Job:
        return self._move(request.name, STATES.PAUSED, STATES.ENABLED)

    def _run_job(self, request: Any) -> scheduler.Job:
        self.fire(self._find(request.name).name)
        return self.jobs[request.name]

    # -- checks

    def _move(self, name: str, before: Any, after: Any) -> scheduler.Job:
        job = self._find(name)
        if job.state != before:
            raise Fault("FAILED_PRECONDITION", f"Job must be in state {before.name}.")
        job.state = after
        return job

    def _find(self, name: str) -> scheduler.Job:
        self._check_parent(name.rpartition("/jobs/")[0])
        if name not in self.jobs:
            raise Fault("NOT_FOUND", "Job not found.")
        return self.jobs[name]

    def _check_parent(self, parent: str) -> None:
        if parent == self.parent:
            return
        project, _, location = parent.removeprefix("projects/").partition("/locations/")
        if project != self.project:
            raise Fault("NOT_FOUND", f"Requested project not found or user does not have access to it ({project}).")
        raise Fault(
            "INVALID_ARGUMENT",
            f"Location '{location}' is not a valid location. Use ListLocations to list valid locations.",
        )

    def _check(self, job: scheduler.Job) -> None:
        wrong = None
        size = scheduler.Job.pb(job).ByteSize() + 1_024
        if not re.fullmatch(rf"{re.escape(self.parent)}/jobs/[a-zA-Z\d_-]{{1,500}}", job.name):
            wrong = f"Job name must be formatted as projects/P/locations/L/jobs/[a-zA-Z\\d_-]{{1,500}}: {job.name}"
        elif len(job.description) > 500:
            wrong = "Job description must not contain more than 500 characters."
        elif size > LARGEST_JOB_BYTES:
            wrong = f"Job size too large: {size} bytes."
        elif not 0 <= job.retry_config.retry_count <= 5:
            wrong = "RetryConfig.retryCount must be between 0 and 5."
        elif not (job.pubsub_target.data or job.pubsub_target.attributes):
            wrong = "Pubsub message must contain either non-empty data, or at least one attribute."
        elif not job.pubsub_target.topic_name.startswith(f"projects/{self.project}/topics/"):
            wrong = "The topic must be in the same project as the Cloud Scheduler job."
        elif not _is_cron(job.schedule) or not _is_zone(job.time_zone):
            wrong = "Schedule or time zone is invalid."
        if wrong is not None:
            raise Fault("INVALID_ARGUMENT", wrong)
        if job.pubsub_target.topic_name not in self.pubsub.state.topics:
            topic = job.pubsub_target.topic_name.rpartition("/")[2]
            raise Fault("NOT_FOUND", f"Resource not found (resource={topic}).")


def _times(job: scheduler.Job, minute: datetime) -> list[datetime]:
    around = timedelta(minutes=1)
    zone = "UTC" if job.time_zone in ("", "utc") else job.time_zone
    return list(platforms.of_cloud_scheduler(job.schedule, zone, minute - around, minute + around, 0))


def _is_cron(text: str) -> bool:
    fields = text.split()
    try:
        return len(fields) == len(FIELDS) and all(
            platforms.numbers(field, *limits) for field, limits in zip(fields, FIELDS, strict=True)
        )
    except (ValueError, AssertionError):
        return False


def _is_zone(name: str) -> bool:
    try:
        return name in ("", "utc") or bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError):
        return False


def now() -> datetime:
    """The current minute."""
    return datetime.now(UTC).replace(second=0, microsecond=0)
