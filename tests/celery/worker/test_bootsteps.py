"""Steps and blueprints, beside those of the real Celery."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from celery import bootsteps as real

from taskq_cloud.celery import bootsteps as ours
from taskq_cloud.celery.exceptions import ImproperlyConfigured

BOTH = pytest.mark.parametrize("side", [real, ours], ids=["celery", "taskq"])


def make_steps(side: ModuleType, log: list[str]) -> list[Any]:
    class Noting(side.StartStopStep):  # type: ignore[misc, name-defined]
        def start(self, parent: Any) -> None:
            log.append(f"start {self.alias}")

        def stop(self, parent: Any) -> None:
            log.append(f"stop {self.alias}")

        def terminate(self, parent: Any) -> None:
            log.append(f"terminate {self.alias}")

        def close(self, parent: Any) -> None:
            log.append(f"close {self.alias}")

        def info(self, obj: Any) -> Any:
            return {self.alias: 1}

    class First(Noting):
        label = "first"

    class Second(Noting):
        requires = (First,)
        label = "second"

    class Third(Noting):
        requires = (Second,)
        conditional = True
        name = "third"

    class Left(Noting):
        enabled = False

    class Last(Noting):
        last = True

    return [Third, Last, Left]


def run(side: ModuleType, *, terminate: bool) -> tuple[list[str], Any]:
    log: list[str] = []
    parent = SimpleNamespace(steps=[])
    blueprint = side.Blueprint(
        make_steps(side, log),
        name="Test",
        on_start=lambda: log.append("on start"),
        on_close=lambda: log.append("on close"),
        on_stopped=lambda: log.append("on stopped"),
    )
    states = [blueprint.human_state()]
    blueprint.apply(parent)
    order = [step.alias for step in blueprint.order]
    blueprint.start(parent)
    states.append(blueprint.human_state())
    info = blueprint.info(parent)
    blueprint.stop(parent, terminate=terminate)
    blueprint.stop(parent)
    blueprint.join(1)
    states.append(blueprint.human_state())
    return log, (sorted(order), order[-1], [repr(step) for step in parent.steps][-1], states, info, blueprint.started)


@pytest.mark.parametrize("terminate", [False, True])
def test_blueprint_starts_and_stops_steps_as_celerys(terminate: bool) -> None:
    assert run(ours, terminate=terminate) == run(real, terminate=terminate)
    log, _ = run(ours, terminate=terminate)
    assert [each for each in log if each.startswith("start")] == [
        "start first",
        "start second",
        "start third",
        "start Last",
    ]


@BOTH
def test_step_types_have_names_and_representations(side: ModuleType) -> None:
    class Named(side.Step):  # type: ignore[misc, name-defined]
        requires = ("a:B",)

    assert str(Named).endswith(".Named")
    assert repr(Named) == f"step:{Named.name}{{('a:B',)}}"
    assert repr(Named(None)) == "<step: Named>"
    assert Named(None).include(None) is True


@BOTH
def test_start_stop_step_starts_what_it_has_made(side: ModuleType) -> None:
    done: list[str] = []
    service = SimpleNamespace(start=lambda: done.append("start"), stop=lambda: done.append("stop"))

    class Service(side.StartStopStep):  # type: ignore[misc, name-defined]
        def create(self, parent: Any) -> Any:
            return service

    parent = SimpleNamespace(steps=[])
    step = Service(parent)
    step.start(parent)
    assert step.include(parent) is True
    for call in (step.start, step.stop, step.terminate):
        call(parent)
    assert done == ["start", "stop", "stop"]
    assert parent.steps == [step]


@BOTH
def test_error_of_a_step_keeps_no_other_from_stopping(side: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    class Good(side.StartStopStep):  # type: ignore[misc, name-defined]
        def stop(self, parent: Any) -> None:
            log.append("stopped")

    class Bad(side.StartStopStep):  # type: ignore[misc, name-defined]
        requires = (Good,)

        def stop(self, parent: Any) -> None:
            raise KeyError("bad")

    parent = SimpleNamespace(steps=[])
    blueprint = side.Blueprint([Bad], name="Test").apply(parent)
    blueprint.start(parent)
    blueprint.stop(parent)
    assert log == ["stopped"]
    assert "Error on stopping Bad: KeyError('bad')" in caplog.text


def test_step_required_by_its_path_in_celery_is_the_one_of_this_package() -> None:
    from taskq_cloud.celery.worker.components import Timer

    class Probe(ours.StartStopStep):
        requires = ("celery.worker.components:Timer",)

    blueprint = ours.Blueprint([Probe], name="Test")
    parent = SimpleNamespace(steps=[], timer_cls=None, timer_precision=None)
    blueprint.apply(parent)
    assert [type(step) for step in blueprint.order] == [Timer, Probe]


def test_consumer_step_says_that_there_is_no_channel() -> None:
    class Feed(ours.ConsumerStep):
        pass

    with pytest.raises(ImproperlyConfigured, match=r"Feed: consumers of kombu are not supported.*task_event_routes"):
        Feed(None).start(SimpleNamespace(connection=SimpleNamespace()))
