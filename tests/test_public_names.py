"""Tests of the package's public names. Removing one breaks an application, an adapter or a user's test."""

from __future__ import annotations

import importlib

import pytest

PUBLIC = {
    "taskq_cloud": """
        AsyncResult BoundTask ChordError Component EagerResult GroupResult Hooks Ignore MaxRetriesExceededError
        OperationalError Reject ResultSet Retry SendError Signature SoftTimeLimitExceeded StampingVisitor Task TaskQ
        TaskQError allow_join_result chain chord chunks current_request group maybe_signature register_serializer
        result_from_tuple signature subtask unregister_serializer xmap xstarmap
    """,
    "taskq_cloud.adapters": """
        Acknowledge AsyncClient Broker BrokerCapabilities Call CallError Client DEAD_LETTER_REASON
        DEAD_LETTER_SOURCE DEFAULT_GROUP DeadLetter Delivery Depth FARTHEST_SLOT_SECONDS FENCE_KEPT_SECONDS
        FencedLock Flow Gather CountsWaiting HeldMessage HeldPage KnowsPhysicalNames KnowsTargets Listener
        ListsHeld Outgoing PlatformSchedule Record Refused Release RenewCredentials ResultStore
        ScheduleCapabilities SchedulePage ScheduleStore Sent Service Settlement Sleep Step StoreCapabilities
        TellsOfEnds ThreadedClient Trouble claimed dead_letter_queue file_of is_ordered may_replace query_of
        take_slot without_secrets
    """,
    "taskq_cloud.errors": """
        AccessDenied AlreadyRegistered ArgumentsInvalid ArgumentsMismatch BodyPending ChordError
        ClaimError ComponentError ContentDisallowed DecodeError
        DelayTooLong EncodeError Ignore ImproperlyConfigured IncompleteStream InvalidTaskError MaxRetriesExceededError
        MissingExtra NotRegistered OperationalError OptionError ParseException PayloadTooLarge QueueNotFound
        QuotaExceeded RateKeyError Reject RemoteError Replaced Retry ScheduleConflict ScheduleError
        ScheduleGroupNotFound SecurityError SendError SoftTimeLimitExceeded StoreNotFound TableNotFound TaskError
        TaskPredicate TaskQError TaskRevokedError TimeLimitExceeded TimeZonesMissing TimeoutError Unreachable
        WorkerLostError
    """,
    "taskq_cloud.hooks": "Call Hooks INTERRUPTED REPLACED Received Run RunningWorker",
    "taskq_cloud.schedules": """
        ParseException PeriodicKeywords Schedule ScheduleState crontab maybe_schedule schedule solar
    """,
    "taskq_cloud.settings": "Settings load_settings public_key",
    "taskq_cloud.contrib.webhooks": "TaskEndpoint WebhookAnswer WebhookFailed WebhookRefused webhook_task",
    "taskq_cloud.testing": "Drive FakeClock run_tasks",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_of_a_module_are_pinned(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert sorted(names) == sorted(PUBLIC[module].split())


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_exist_once(module: str) -> None:
    imported = importlib.import_module(module)
    assert [name for name in imported.__all__ if not hasattr(imported, name)] == []
    assert len(set(imported.__all__)) == len(imported.__all__)


@pytest.mark.parametrize(
    "suite",
    [
        "broker.BrokerContract",
        "pipeline.PipelineContract",
        "result_store.ResultStoreContract",
        "schedule_store.ScheduleStoreContract",
    ],
)
def test_contract_suites_have_their_public_paths(suite: str) -> None:
    module, _, name = suite.partition(".")
    assert hasattr(importlib.import_module(f"taskq_cloud.testing.contracts.{module}"), name)
