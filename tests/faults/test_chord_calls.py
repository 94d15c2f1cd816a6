"""Test the cost of a chord: its calls to SQS and DynamoDB, counted in front of a local stack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from emulators.aws import Ministack, environment
from taskq_cloud import chord
from tests.faults.deployment import AWSDeployment, deployed
from tests.faults.test_accounting import SQS_OPERATIONS

pytestmark = pytest.mark.slow

MEMBERS = int(os.environ.get("TASKQ_TEST_CHORD_MEMBERS", "1000"))
"""How many members the chord has. The local stack receives more slowly from a longer queue, so the default is small."""
DYNAMODB_OPERATIONS = ("GetItem", "PutItem", "UpdateItem", "BatchGetItem", "BatchWriteItem", "DeleteItem")


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_stack: Ministack) -> Iterator[AWSDeployment]:
    with deployed(own_stack, tmp_path) as made:
        for name, value in environment(made.counter.endpoint_url).items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.mark.needs("carries_load")
@pytest.mark.timeout(600)
def test_chord_costs_few_calls_per_member(
    deployment: AWSDeployment, record_property: Callable[[str, object], None]
) -> None:
    deployment.start_worker("-P", "threads", "-c", "10", "--prefetch-multiplier", "6", "--visibility-timeout", "60")
    with closing(deployment.app()) as app:
        header = [app.signature("fault_app.square", (number,)) for number in range(MEMBERS)]
        result = chord(header, app.signature("fault_app.total")).delay()
        # Waiting asks the store as well. The long interval keeps those calls out of the chord's count.
        assert result.get(timeout=500, interval=5) == sum(number**2 for number in range(MEMBERS)), deployment.logs()
    assert deployment.stop() == [0]
    assert set(deployment.runs().values()) == {1}
    assert len(deployment.runs()) == MEMBERS

    counts = deployment.counter.counts()
    of_sqs = sum(counts.get(name, 0) for name in SQS_OPERATIONS)
    of_dynamodb = sum(counts.get(name, 0) for name in DYNAMODB_OPERATIONS)
    record_property("calls a member", f"{of_sqs / MEMBERS:.3f} of SQS, {of_dynamodb / MEMBERS:.3f} of DynamoDB")
    assert of_sqs <= 0.5 * MEMBERS, counts
    assert of_dynamodb <= 2.2 * MEMBERS, counts
