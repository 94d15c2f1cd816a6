"""Tests of workflows with many stages: their greatest depth, and how often their signatures are parsed."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.core.workflows import chord_members, signatures
from taskq_cloud.core.workflows.stages import MOST_NESTED
from taskq_cloud.errors import InvalidTaskError
from taskq_cloud.testing.bench import Bench
from tests.chaos import serve


@pytest.fixture
def app(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")
    app = TaskQ("deep", broker="memory://", results="memory://")

    @app.task(name="one")
    def one(*_: Any) -> int:
        return 1

    @app.task(name="deeper", bind=True)
    def deeper(self: Any, size: int) -> Any:
        return self.replace(following(one, size))

    yield app
    app.close()


def following(one: Any, size: int) -> Any:
    return chain([group(one.s(), one.s()) for _ in range(size)])


def within(one: Any, size: int) -> Any:
    workflow = one.s()
    for _ in range(size):
        workflow = chain(group(workflow, one.s()), one.s())
    return workflow


def bodies(one: Any, size: int) -> Any:
    workflow = one.s()
    for _ in range(size):
        workflow = chord([one.s(), one.s()], workflow)
    return workflow


MAKES = pytest.mark.parametrize(
    ("make", "most"), [(following, MOST_NESTED), (bodies, MOST_NESTED), (within, MOST_NESTED // 2)]
)


def run(app: TaskQ, workflow: Any) -> Any:
    bench = Bench.of(app)
    result = workflow.apply_async()
    serve(bench)
    return result.get(timeout=1)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "most"), [(bodies, MOST_NESTED), (within, MOST_NESTED // 2)])
def test_workflow_of_the_greatest_depth_runs(app: TaskQ, make: Any, most: int) -> None:
    assert run(app, make(app.tasks["one"], most)) == 1


@MAKES
@pytest.mark.parametrize("much", [1, 1_000])
def test_deeper_workflow_is_refused_when_it_is_called(app: TaskQ, make: Any, most: int, much: int) -> None:
    workflow = make(app.tasks["one"], most + much)
    for call in (workflow.apply_async, workflow.apply):
        with pytest.raises(
            InvalidTaskError, match=r"nests too deeply: at most 200 groups .* or 100 stand inside each other"
        ):
            call()


def test_replacement_that_nests_too_deeply_fails_the_task(app: TaskQ) -> None:
    with pytest.raises(InvalidTaskError, match=r"task deeper: replace\(\): this workflow nests too deeply"):
        run(app, app.tasks["deeper"].s(MOST_NESTED + 1))


def test_rest_of_a_workflow_is_parsed_once_per_message(app: TaskQ, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(signature: Any) -> Any:
        read.append(1)
        return signatures.parse(signature)

    monkeypatch.setattr(chord_members, "parse", counted)
    stages = 10
    run(app, following(app.tasks["one"], stages))
    # The members of every group except the last carry a body, and each group's last member sends the body.
    assert len(read) == 2 * (stages - 1) + (stages - 1)
