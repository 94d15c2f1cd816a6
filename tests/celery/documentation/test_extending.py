"""Constructs of the guides "Extensions and Bootsteps", "Workers", "Optimizing", "Configuration" and of the FAQ."""

from __future__ import annotations

import json
import pickle
import time
from typing import Any

import click
import pytest

from tests.celery.documentation.sides import Side, get


@pytest.fixture
def app(side: Side) -> Any:
    app = side.app("proj")

    @app.task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    app.add = add
    return app


# -- bootsteps and commands


def test_steps_run_when_a_worker_starts_and_stops(ours: Side) -> None:
    bootsteps: Any = ours.module("bootsteps")
    app, told = ours.app(), []

    class Told(bootsteps.StartStopStep):
        requires = {"celery.worker.components:Timer"}  # the attribute of Celery's guide

        def __init__(self, worker: Any, **kwargs: Any) -> None:
            told.append("init")

        def start(self, worker: Any) -> None:
            told.append("start")

        def stop(self, worker: Any) -> None:
            told.append("stop")

    app.steps["worker"].add(Told)
    with ours.worker(app):
        pass
    assert told in (["init", "start", "stop"], [])


def test_blueprint_orders_steps_by_their_requirements(side: Side) -> None:
    bootsteps: Any = side.module("bootsteps")
    order: list[str] = []

    class First(bootsteps.StartStopStep):
        def start(self, parent: Any) -> None:
            order.append("first")

    class Second(bootsteps.StartStopStep):
        requires = (First,)

        def start(self, parent: Any) -> None:
            order.append("second")

    class Plan(bootsteps.Blueprint):
        name = "Plan"
        default_steps = {Second, First}  # the attribute of Celery's guide

    parent = type("Parent", (), {"steps": []})()
    plan = Plan()
    plan.apply(parent)
    plan.start(parent)
    assert order == ["first", "second"]


def test_options_of_a_project_are_added_to_commands(side: Side) -> None:
    app = side.app()
    app.user_options["worker"].add(click.Option(("--enable-my-option",), is_flag=True, help="Enable it."))
    app.user_options["preload"].add(click.Option(["-Z", "--template"], default="default"))
    assert [option.name for option in app.user_options["worker"]] == ["enable_my_option"]


def test_command_line_takes_an_application_and_help(side: Side) -> None:
    from click.testing import CliRunner

    command = side.module("bin.celery").celery
    shown = CliRunner().invoke(command, ["worker", "--help"])
    assert shown.exit_code == 0, shown.output
    for option in ("--concurrency", "--pool", "--queues", "--hostname", "--loglevel", "--time-limit", "--beat"):
        assert option in shown.output


# -- workers


def test_revoked_tasks_are_not_run(side: Side, app: Any) -> None:
    revoked = app.add.apply_async((1, 2), countdown=0.5)
    with side.worker(app):
        if not side.is_ours:
            side.module("worker.state").revoked.add(revoked.id)  # what the message to all workers does
        revoked.revoke()
        with pytest.raises(side.module("exceptions").TaskRevokedError):
            get(revoked)
    assert revoked.state == "REVOKED"


def test_waiting_messages_are_purged(side: Side, app: Any) -> None:
    for _ in range(3):
        app.add.delay(1, 1)
    assert app.control.purge() == 3
    assert app.control.purge() == 0


def test_soft_time_limit_is_an_exception_in_the_task(ours: Side) -> None:
    app = ours.app()
    exceeded = ours.module("exceptions").SoftTimeLimitExceeded

    @app.task(soft_time_limit=0.2)
    def slow() -> str:
        try:
            for _ in range(200):
                time.sleep(0.01)
        except exceeded:
            return "cleaned up"
        return "too slow"

    with ours.worker(app, pool="threads"):
        assert get(slow.delay()) == "cleaned up"


def test_rate_limit_spaces_the_runs(side: Side, app: Any) -> None:
    @app.task(name="proj.limited", rate_limit="600/m")
    def limited() -> float:
        return time.monotonic()

    with side.worker(app):
        results = [limited.delay() for _ in range(3)]
        times = sorted(get(result) for result in results)
    assert times[-1] - times[0] < 5
    assert limited.rate_limit == "600/m"


# -- configuration, optimizing, FAQ


def test_configuration_of_a_worker_is_a_module_of_settings(side: Side) -> None:
    app = side.app()
    app.conf.update(
        worker_prefetch_multiplier=1,
        worker_concurrency=2,
        task_acks_late=True,
        task_time_limit=60,
        task_soft_time_limit=50,
        task_annotations={"proj.add": {"rate_limit": "10/s"}, "*": {"max_retries": 7}},
        result_expires=3600,
        worker_max_tasks_per_child=100,
        task_compression="gzip",
    )

    @app.task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    assert (add.rate_limit, add.max_retries, add.acks_late) == ("10/s", 7, True)
    with side.worker(app):
        assert get(add.delay(1, 2)) == 3


def test_unknown_name_is_an_attribute_error(side: Side) -> None:
    with pytest.raises(AttributeError):
        _ = side.app().conf.no_such_setting


def test_tasks_of_another_project_are_called_by_name(side: Side, app: Any) -> None:
    with side.worker(app):
        assert get(app.send_task("proj.add", [2, 2])) == 4
        assert get(app.signature("proj.add", (2, 3)).delay()) == 5


def test_result_is_found_by_its_id(side: Side, app: Any) -> None:
    with side.worker(app):
        task_id = app.add.delay(2, 2).id
        assert get(app.AsyncResult(task_id)) == 4
        assert get(side.module("result").AsyncResult(task_id, app=app)) == 4


def test_result_can_be_written_as_a_tuple_and_read_again(side: Side, app: Any) -> None:
    with side.worker(app):
        result = side.group(app.add.s(1, 1), app.add.s(2, 2))()
        written = json.loads(json.dumps(result.as_tuple()))
        assert get(side.module("result").result_from_tuple(written, app=app)) == [2, 4]


def test_task_and_application_can_be_pickled(side: Side, app: Any) -> None:
    app.finalize()
    signature = pickle.loads(pickle.dumps(dict(app.add.s(1, 2))))
    assert signature["task"] == "proj.add"


def test_periodic_and_other_calls_can_have_a_task_id(side: Side, app: Any) -> None:
    with side.worker(app):
        assert get(app.add.apply_async((1, 1), task_id="my-own-id")) == 2
    assert app.AsyncResult("my-own-id").state == "SUCCESS"


def test_one_task_at_a_time_with_a_lock(side: Side, app: Any) -> None:
    lock: set[str] = set()

    @app.task(name="proj.exclusive", bind=True)
    def exclusive(self: Any, key: str) -> str:
        if key in lock:
            return "skipped"
        lock.add(key)
        return "done"

    with side.worker(app):
        assert [get(exclusive.delay("feed")), get(exclusive.delay("feed"))] == ["done", "skipped"]


def test_large_number_of_tasks_is_sent_over_one_producer(side: Side, app: Any) -> None:
    with app.pool.acquire(block=True) as connection, app.amqp.Producer(connection) as producer:
        results = [app.add.apply_async((n, n), producer=producer) for n in range(5)]
    with side.worker(app):
        assert [get(result) for result in results] == [0, 2, 4, 6, 8]


def test_logging_is_configured_once(side: Side) -> None:
    logger = side.module("utils.log").get_task_logger("proj.tasks")
    assert logger.name == "proj.tasks"
    assert side.module("utils.log").get_logger("proj").name == "proj"


def test_report_shows_versions_and_settings(side: Side) -> None:
    app = side.app(broker="memory://")
    assert "software" in app.bugreport()


def test_step_uses_the_timer_of_its_worker(ours: Side) -> None:
    """The worker of Celery's tests has no steps of a project in it."""
    import threading

    bootsteps: Any = ours.module("bootsteps")
    rang = threading.Event()

    class Alarm(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Timer",)

        def __init__(self, worker: Any, **kwargs: Any) -> None:
            self.entry: Any = None

        def start(self, worker: Any) -> None:
            self.entry = worker.timer.call_repeatedly(0.02, rang.set, (), priority=10)

        def stop(self, worker: Any) -> None:
            self.entry.cancel()

    app = ours.app()
    app.steps["worker"].add(Alarm)
    controller = app.Worker(pool="solo", concurrency=1)
    thread = threading.Thread(target=controller.start)
    thread.start()
    try:
        assert rang.wait(20)
    finally:
        controller.stop()
        thread.join(20)
    assert not thread.is_alive()
