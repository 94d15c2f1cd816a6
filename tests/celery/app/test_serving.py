"""A function, an endpoint and a worker know the tasks of an application whose module has only declared them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.celery import Celery


def _app(tmp_path: Path) -> Any:
    return Celery("shop", set_as_current=False, broker="memory://", backend=f"sqlite:///{tmp_path}/results.db")


def test_lambda_handler_runs_a_task_that_nothing_has_used_yet(tmp_path: Path) -> None:
    app = _app(tmp_path)

    @app.task(name="shop.double", shared=False)
    def double(number: int) -> int:
        return 2 * number

    answer = app.lambda_handler()({"task": "shop.double", "args": [4]}, None)
    assert (answer["status"], answer["result"]) == ("SUCCESS", 8)
    app.close()


def test_lambda_handler_imports_the_modules_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "served_shop.py").write_text(
        "from taskq_cloud.celery import Celery\n\n"
        "app = Celery('shop', set_as_current=False, broker='memory://', include=['served_jobs'])\n"
    )
    (tmp_path / "served_jobs.py").write_text(
        "from served_shop import app\n\n@app.task(name='shop.half', shared=False)\n"
        "def half(number):\n    return number // 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    app = importlib.import_module("served_shop").app
    answer = app.lambda_handler()({"task": "shop.half", "args": [4]}, None)
    assert (answer["status"], answer["result"]) == ("SUCCESS", 2)
    app.close()


def test_topology_has_the_queues_of_tasks_that_nothing_has_used_yet() -> None:
    app: Any = Celery("shop", set_as_current=False, broker="sqs://", backend="dynamodb://@eu-west-1/results")

    @app.task(name="shop.mail", queue="mail", shared=False)
    def mail() -> None:
        """Do nothing."""

    assert "mail" in [queue.name for queue in app.native.topology().queues]
    app.close()


def test_pubsub_push_handler_checks_its_options(tmp_path: Path) -> None:
    app = _app(tmp_path)
    with pytest.raises(TypeError, match="audience"):
        app.pubsub_push_handler()
    app.close()


def test_native_application_knows_declared_tasks_before_finalization(tmp_path: Path) -> None:
    app = _app(tmp_path)

    @app.task(name="shop.one", shared=False)
    def one() -> None:
        """Do nothing."""

    assert "shop.one" in app.native.definitions
    assert app.native.definitions["shop.one"].name == "shop.one"
    assert set(app.native.tasks) == {"shop.one"}
    app.close()


def test_application_that_only_its_program_finalizes_is_not_finalized_by_a_look_at_its_definitions() -> None:
    app: Any = Celery("shop", set_as_current=False, broker="memory://", autofinalize=False)
    assert app.native.definitions.get("shop.unknown") is None
    assert not app.finalized
    app.close()


def test_call_by_name_does_not_finalize_the_application(tmp_path: Path) -> None:
    app = _app(tmp_path)

    @app.task(name="shop.one", shared=False)
    def one() -> None:
        """Do nothing."""

    app.send_task("elsewhere.task")
    assert not app.finalized
    app.close()
