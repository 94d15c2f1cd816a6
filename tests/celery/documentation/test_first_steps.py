"""Constructs of "First Steps with Celery" and "Next Steps": a first application, calls, results and the canvas."""

from __future__ import annotations

from typing import Any

import pytest

from tests.celery.documentation.sides import Side, get


@pytest.fixture
def app(side: Side) -> Any:
    app = side.app("orders")

    @app.task
    def price(amount: int, each: int) -> int:
        return amount * each

    @app.task
    def total(prices: list[int]) -> int:
        return sum(prices)

    @app.task
    def refuse() -> None:
        raise ValueError("no such article")

    app.price, app.total, app.refuse = price, total, refuse
    return app


def test_result_of_a_call_has_value_and_state(side: Side, app: Any) -> None:
    with side.worker(app):
        result = app.price.delay(3, 5)
        assert get(result) == 15
    assert (result.ready(), result.successful(), result.failed(), result.state) == (True, True, False, "SUCCESS")
    result.forget()
    assert app.AsyncResult(result.id).state == "PENDING"


def test_failed_call_raises_or_returns_the_exception(side: Side, app: Any) -> None:
    with side.worker(app):
        result = app.refuse.delay()
        with pytest.raises(ValueError, match="no such article"):
            get(result)
        error = get(result, propagate=False)
    assert (type(error), error.args) == (ValueError, ("no such article",))
    assert (result.failed(), result.successful(), result.state) == (True, False, "FAILURE")
    assert "in refuse" in result.traceback
    assert "ValueError: no such article" in result.traceback


def test_result_of_an_unknown_id_is_pending(app: Any) -> None:
    result = app.AsyncResult("not-a-task")
    assert (result.state, result.ready(), result.result) == ("PENDING", False, None)


def test_task_can_be_called_as_a_function(app: Any) -> None:
    assert app.price(3, 5) == 15


def test_task_is_named_after_its_module(app: Any) -> None:
    assert app.price.name == f"{__name__}.price"
    assert app.tasks[app.price.name] == app.price


def test_configuration_is_read_from_attributes_mappings_and_modules(
    app: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.conf.task_serializer = "json"
    app.conf.update(result_serializer="json", timezone="Europe/Oslo", enable_utc=True)
    assert (app.conf.task_serializer, app.conf.timezone) == ("json", "Europe/Oslo")
    (tmp_path / "settings_of_first_steps.py").write_text(
        "accept_content = ['json']\ntask_annotations = {'orders.price': {'rate_limit': '10/m'}}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    app.config_from_object("settings_of_first_steps")
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_annotations == {"orders.price": {"rate_limit": "10/m"}}


def test_call_with_options_names_a_queue_and_a_delay(side: Side, app: Any) -> None:
    app.conf.task_create_missing_queues = True
    with side.worker(app, queues=["urgent-of-first-steps"]):
        result = app.price.apply_async((2, 2), queue="urgent-of-first-steps", countdown=0.1)
        assert get(result) == 4


def test_signatures_are_called_partially(side: Side, app: Any) -> None:
    whole, partial = app.price.s(3, 5), app.price.s(5)
    assert repr(whole) == f"{__name__}.price(3, 5)"
    assert app.price.signature((3, 5), countdown=10).options == {"countdown": 10}
    with side.worker(app):
        assert get(whole.delay()) == 15
        assert get(partial.delay(3)) == 15


def test_groups_chains_and_chords_run(side: Side, app: Any) -> None:
    with side.worker(app):
        assert get(side.group(app.price.s(i, i) for i in range(4))()) == [0, 1, 4, 9]
        partial = side.group(app.price.s(i) for i in range(3))
        assert get(partial(10)) == [0, 10, 20]
        assert get(side.chain(app.price.s(4, 4) | app.price.s(8))()) == 128
        assert get((app.price.s(4, 4) | app.price.s(2))()) == 32
        assert get(side.chain(app.price.s(2) | app.price.s(3))(1)) == 6
        assert get(side.chord((app.price.s(i, 1) for i in range(5)), app.total.s())()) == 10
        assert get((side.group(app.price.s(i, 1) for i in range(3)) | app.total.s())()) == 3
        assert get(side.chord([app.price.s(1, 1)])(app.total.s())) == 1


def test_expiry_of_results_and_ignored_results_are_set(side: Side, app: Any) -> None:
    app.conf.update(result_expires=3600)
    assert app.conf.result_expires == 3600

    @app.task(ignore_result=True)
    def note() -> str:
        return "noted"

    with side.worker(app):
        ignored = note.delay()
        assert get(app.price.delay(1, 1)) == 1
    assert app.AsyncResult(ignored.id).result is None
