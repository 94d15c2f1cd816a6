"""Tasks that follow others with options that no message can have: told at the call, or they fail the task before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Embed, Message
from taskq_cloud.errors import EncodeError, ImproperlyConfigured, OptionError
from taskq_cloud.testing.bench import Bench

UNFIT: list[dict[str, Any]] = [{"serializer": "nope"}, {"compression": "nope"}]


class Shop:
    """An application whose queue is served by hand."""

    def __init__(self) -> None:
        self.app = TaskQ("shop", broker="memory://", results="memory://")
        self.bench = Bench.of(self.app)

        @self.app.task(name="add")
        def add(x: int, y: int) -> int:
            return x + y

        @self.app.task(name="again", bind=True)
        def again(self: Any, /, **options: Any) -> None:
            raise self.retry(exc=ValueError("the own error"), **options)

        @self.app.task(name="instead", bind=True)
        def instead(self: Any, /, **options: Any) -> None:
            self.replace(add.s(1, 2).set(**options))

        self.add, self.again, self.instead = add, again, instead


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.app.close()


PLACES: dict[str, Callable[[Shop, dict[str, Any]], Any]] = {
    "chain": lambda shop, options: chain(shop.add.s(1, 2), shop.add.s(3).set(**options)).delay(),
    "body": lambda shop, options: chord([shop.add.s(1, 2)] * 2, shop.app.signature("sum").set(**options)).delay(),
    "member": lambda shop, options: chain(shop.add.s(1, 2), group([shop.add.s(3).set(**options)] * 2)).delay(),
    "link": lambda shop, options: shop.add.apply_async((1, 2), link=shop.add.s(3).set(**options)),
    "linked chain": lambda shop, options: shop.add.apply_async(
        (1, 2), link=chain(shop.add.s(3), shop.add.s(4).set(**options))
    ),
    "link_error": lambda shop, options: shop.add.apply_async((1, 2), link_error=shop.add.s(3).set(**options)),
    "link of a chain": lambda shop, options: chain(
        shop.add.s(1, 2).set(link=shop.add.s(3).set(**options)), shop.add.s(3)
    ).delay(),
}


@pytest.mark.parametrize("options", [*UNFIT, {"headers": {"id": "x"}}])
@pytest.mark.parametrize("place", PLACES)
def test_option_of_a_later_message_is_checked_at_the_call(shop: Shop, place: str, options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"task \w+: (unknown|header 'id')"):
        PLACES[place](shop, options)
    assert not shop.bench.left()


@pytest.mark.parametrize("options", UNFIT)
def test_task_before_a_message_that_no_worker_can_encode_fails(shop: Shop, options: dict[str, Any]) -> None:
    later = {"task": "add", "args": [3], "kwargs": {}, "options": {**options, "task_id": "t-2"}}
    shop.bench.send(Message(task="add", id="t-1", args=[1, 2], embed=Embed(chain=[later])))
    shop.bench.drain()
    assert shop.bench.states("t-1", "t-2") == ["FAILURE", "FAILURE"]
    with pytest.raises(EncodeError, match="task add: its arguments can't be serialised: unknown"):
        shop.app.AsyncResult("t-1").get(timeout=1)


@pytest.mark.parametrize("options", UNFIT)
def test_chord_whose_body_no_worker_can_encode_fails(shop: Shop, options: dict[str, Any]) -> None:
    @shop.app.task(name="start", bind=True)
    def start(self: Any) -> None:
        self.replace(chord([shop.add.s(1, 2), shop.add.s(3, 4)], shop.app.signature("sum").set(**options)))

    result = start.delay()
    shop.bench.drain()
    assert not shop.bench.dead_letters()
    with pytest.raises(EncodeError, match="unknown"):
        result.get(timeout=1)


@pytest.mark.parametrize("options", UNFIT)
def test_replacement_that_no_worker_can_encode_fails(shop: Shop, options: dict[str, Any]) -> None:
    result = shop.instead.delay(**options)
    shop.bench.drain()
    with pytest.raises(EncodeError, match="unknown"):
        result.get(timeout=1)


@pytest.mark.parametrize("options", UNFIT)
def test_retry_that_no_worker_can_encode_tells_its_own_error_too(shop: Shop, options: dict[str, Any]) -> None:
    result = shop.again.delay(**options)
    shop.bench.drain()
    with pytest.raises(EncodeError, match="unknown") as caught:
        result.get(timeout=1)
    assert caught.value.__notes__ == ["the task was to be retried after ValueError: the own error"]


def test_errback_that_no_worker_can_encode_leaves_the_failure_to_its_caller(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    errback = {"task": "elsewhere", "args": [], "kwargs": {}, "options": {"serializer": "nope"}}
    shop.bench.send(Message(task="add", id="t-1", args=["x", 2], embed=Embed(errbacks=[errback])))
    shop.bench.drain()
    with pytest.raises(TypeError, match="concatenate"):
        shop.app.AsyncResult("t-1").get(timeout=1)
    assert not [each.attributes[DEAD_LETTER_REASON] for each in shop.bench.dead_letters()]
    assert "its errbacks can't be sent" in caplog.text


@pytest.mark.parametrize("wrong", [5, "text", [5], object(), True, 1.5])
@pytest.mark.parametrize("name", ["link", "link_error"])
def test_link_that_is_no_signature_is_told_wherever_it_is_given(shop: Shop, name: str, wrong: Any) -> None:
    for call in (
        lambda: shop.add.apply_async((1, 2), **{name: wrong}),
        lambda: shop.add.s(1, 2).set(**{name: wrong}),
        lambda: chain(shop.add.s(1, 2), shop.add.s(3)).set(**{name: wrong}),
        lambda: group(shop.add.s(1, 2)).apply_async(**{name: wrong}),
    ):
        with pytest.raises(TypeError, match=f"{name} takes signatures"):
            call()
    assert issubclass(OptionError, TypeError)
