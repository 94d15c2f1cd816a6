"""Tasks that take and return pydantic's models: the option ``pydantic=True``."""

from __future__ import annotations

import warnings
from typing import Any, Optional

from pydantic import BaseModel

from tests.celery.scenarios.library import Library


class Order(BaseModel):
    """An argument."""

    number: int
    title: str = "none"


class Receipt(BaseModel):
    """A value."""

    total: float


def argument_and_value(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, pydantic=True)
    def buy(order: Order) -> Receipt:
        assert isinstance(order, Order)
        return Receipt(total=order.number * 2)

    return (
        buy.apply(({"number": 3},)).get(),
        buy.apply(kwargs={"order": {"number": "4"}}).get(),
        buy({"number": 1}),
        type(buy.apply(({"number": "x"},)).result).__name__,
    )


def arguments_that_are_no_models(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, pydantic=True)
    def mixed(order: Order, count: int, *rest: int, flag: bool = False) -> Any:
        return type(order).__name__, count, type(count).__name__, rest, flag

    return mixed.apply(({"number": 1}, "2", 3), {"flag": True}).get()


def optional_models(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, pydantic=True)
    def old(order: Optional[Order] = None) -> Any:  # noqa: UP045 - the older of both forms
        return type(order).__name__

    @app.task(shared=False, pydantic=True)
    def new(order: Order | None = None) -> Any:
        return type(order).__name__

    return [task.apply(args).get() for task in (old, new) for args in ((), (None,), ({"number": 1},))]


def bound_tasks(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, pydantic=True, bind=True)
    def bound(self, order: Order) -> Receipt:
        return Receipt(total=self.request.retries + order.number)

    return bound.apply(({"number": 3},)).get()


def values_that_are_no_models(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, pydantic=True)
    def plain(order: Order) -> int:
        return order.number

    @app.task(shared=False, pydantic=True)
    def other(order: Order) -> Receipt:
        return {"total": order.number}  # type: ignore[return-value]

    return plain.apply(({"number": 3},)).get(), other.apply(({"number": 3},)).get()


def strict_and_context(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, pydantic=True, pydantic_strict=True)
    def strict(order: Order) -> Any:
        return order.number

    @app.task(shared=False, pydantic=True, pydantic_dump_kwargs={"exclude_defaults": True})
    def dumped(order: Order) -> Order:
        return order

    return (
        strict.apply(({"number": 3},)).get(),
        type(strict.apply(({"number": "3"},)).result).__name__,
        dumped.apply(({"number": 3},)).get(),
    )


def models_as_arguments_of_calls(lib: Library) -> Any:
    app = lib.app(task_always_eager=True)

    @app.task(shared=False, pydantic=True)
    def buy(order: Order) -> Receipt:
        return Receipt(total=order.number)

    return (
        buy.delay(Order(number=3)).get(),
        buy.delay(order=Order(number=4)).get(),
        buy.apply_async(({"number": 5},)).get(),
    )


def without_the_option(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False)
    def plain(order: Order) -> Any:
        return type(order).__name__

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plain.apply(({"number": 3},)).get(), plain.apply((Order(number=1),)).get()
