"""Workers of both packages on one queue: every call ends exactly once."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from taskq_cloud.testing.waiting import until
from tests.celery.interop.conftest import Place
from tests.celery.interop.loading import PACKAGES, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 40
ROUNDS = 10


@pytest.fixture(scope="module", autouse=True)
def workers(place: Place) -> None:
    for package in PACKAGES:
        place.worker(package)


def runs(place: Place) -> list[list[Any]]:
    lines = [json.loads(line) for line in place.journal.read_text().splitlines()]
    return [rest for kind, *rest in lines if kind == "once"]


def get(result: Any) -> Any:
    return result.get(timeout=SECONDS, interval=0.05)


def test_every_call_ends_exactly_once(sides: dict[str, Project], place: Place) -> None:
    sent: dict[str, int] = {}
    for _ in range(ROUNDS):
        started = [(project.once.delay(number), number) for number in range(10) for project in sides.values()]
        for result, number in started:
            assert get(result) == number
            sent[result.id] = number
        if {worker for *_, worker in runs(place)} == set(PACKAGES):
            break
    found = runs(place)
    assert {worker for *_, worker in found} == set(PACKAGES), "one of the workers has run nothing"
    assert Counter(task_id for task_id, *_ in found) == Counter(list(sent))
    assert {task_id: number for task_id, number, _ in found} == sent


def test_workflows_have_their_values_whoever_runs_their_tasks(sides: dict[str, Project]) -> None:
    for project in sides.values():
        p = project
        started = [
            (p.chain(p.add.s(number, 1), p.mul.s(2), p.add.s(1)).delay(), (number + 1) * 2 + 1) for number in range(5)
        ]
        started += [
            (p.chord([p.add.s(each, number) for each in range(6)], p.total.s()).delay(), 15 + 6 * number)
            for number in range(5)
        ]
        started += [
            (p.chain(p.replaced.s("group", number), p.total.s(), p.mul.s(2)).delay(), (3 * number + 3) * 2)
            for number in range(3)
        ]
        started += [(p.flaky.delay(2), 2), (p.chord([p.flaky.s(1), p.replaced.s("chord")], p.total.s()).delay(), 7)]
        for result, value in started:
            assert get(result) == value


def test_messages_are_all_gone_at_the_end(place: Place, sqs_client: Any) -> None:
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")

    def are_gone() -> bool:
        left = 0
        for queue in (place.queue, place.second_queue):
            url = sqs_client.get_queue_url(QueueName=queue)["QueueUrl"]
            found = sqs_client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))["Attributes"]
            left += sum(int(found[name]) for name in names)
        return not left

    until(are_gone, "all messages to be settled", SECONDS)
    assert [process.poll() for process in place.processes] == [None, None]
