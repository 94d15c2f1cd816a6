"""Test how parts of several flows are carried out by one operation, and what each flow is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskq_cloud.clients.combining import AsyncCombiner, Combiner
from taskq_cloud.core.flows import Call, Flow, Together, arun, run
from taskq_cloud.errors import PayloadTooLarge, Unreachable
from taskq_cloud.testing.waiting import auntil, until

LONG_SECONDS = 30


class Doubling:
    """An operation that doubles numbers: each part is answered by twice itself, and a text can't be doubled."""

    def __init__(self) -> None:
        self.made: list[list[Any]] = []

    def double(self, parts: Sequence[Any]) -> Flow[list[Any]]:
        self.made.append([*parts])
        yield Call("numbers", "double")
        if "outage" in parts:
            raise Unreachable("no answer")
        if any(isinstance(part, str) for part in parts):
            raise PayloadTooLarge("a text")
        return [2 * part for part in parts]


@pytest.fixture
def doubling() -> Doubling:
    return Doubling()


class Gate:
    """Performs calls on an event loop, each when it is let through."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def perform(self, step: Any) -> None:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls.put_nowait(opened)
        await opened

    async def open(self) -> None:
        async with asyncio.timeout(LONG_SECONDS):
            while (opened := await self._calls.get()).cancelled():
                pass
            opened.set_result(None)


def made_by(gate: Gate) -> AsyncCombiner:
    return AsyncCombiner(lambda flow: arun(flow, gate.perform))


async def test_parts_that_come_during_an_operation_are_carried_out_together_after_it(
    doubling: Doubling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq_cloud.clients.combining.LONGEST_WAIT_SECONDS", LONG_SECONDS)
    gate = Gate()
    combiner = made_by(gate)
    flows = [asyncio.ensure_future(combiner.perform(Together(doubling.double, number))) for number in range(2)]
    await auntil(lambda: doubling.made == [[0, 1]])
    flows += [asyncio.ensure_future(combiner.perform(Together(doubling.double, number))) for number in range(2, 6)]
    await gate.open()
    assert await flows[0] == 0
    await gate.open()
    assert await asyncio.gather(*flows) == [0, 2, 4, 6, 8, 10]
    flows.append(asyncio.ensure_future(combiner.perform(Together(doubling.double, 6))))
    await gate.open()
    assert await flows[-1] == 12
    assert doubling.made == [[0, 1], [2, 3, 4, 5], [6]]


async def test_part_waits_for_a_slow_operation_only_for_a_while(doubling: Doubling) -> None:
    gate = Gate()
    combiner = made_by(gate)
    slow = asyncio.ensure_future(combiner.perform(Together(doubling.double, 1)))
    await auntil(lambda: len(doubling.made) == 1)
    other = asyncio.ensure_future(combiner.perform(Together(doubling.double, 2)))
    await auntil(lambda: len(doubling.made) == 2)
    await gate.open()
    await gate.open()
    assert [*(await asyncio.gather(slow, other))] == [2, 4]
    assert doubling.made == [[1], [2]]


async def test_operations_of_two_stores_are_not_mixed(doubling: Doubling) -> None:
    gate, other = Gate(), Doubling()
    combiner = made_by(gate)
    parts = [Together(doubling.double, 1), Together(other.double, 2)]
    flows = [asyncio.ensure_future(combiner.perform(part)) for part in parts]
    await gate.open()
    await gate.open()
    assert await asyncio.gather(*flows) == [2, 4]
    assert (doubling.made, other.made) == ([[1]], [[2]])


async def test_flow_that_is_cancelled_leaves_the_others_alone(doubling: Doubling) -> None:
    gate = Gate()
    combiner = made_by(gate)
    flows = [asyncio.ensure_future(combiner.perform(Together(doubling.double, number))) for number in range(4)]
    await asyncio.sleep(0)
    flows[0].cancel()
    flows[2].cancel()
    await gate.open()
    assert [await flows[1], await flows[3]] == [2, 6]


def answers_in_threads(combiner: Combiner, steps: Sequence[Together]) -> list[Any]:
    begun = [combiner.begin(step) for step in steps]
    combiner.hurry()
    return [future.exception(LONG_SECONDS) or future.result() for future in begun]


def answers_on_a_loop(doubling: Doubling, steps: Sequence[Together]) -> list[Any]:
    async def answer() -> None:
        await asyncio.sleep(0)

    async def all_of_them() -> list[Any]:
        combiner = AsyncCombiner(lambda flow: arun(flow, lambda step: answer()))
        return await asyncio.gather(*map(combiner.perform, steps), return_exceptions=True)

    return asyncio.run(all_of_them())


@pytest.fixture(params=["threads", "loop"])
def answers(request: pytest.FixtureRequest, doubling: Doubling) -> Callable[[Sequence[Together]], list[Any]]:
    if request.param == "loop":
        return lambda steps: answers_on_a_loop(doubling, steps)
    return lambda steps: answers_in_threads(Combiner(lambda flow: run(flow, lambda step: None)), steps)


def test_part_that_fails_fails_alone(doubling: Doubling, answers: Callable[[Sequence[Together]], list[Any]]) -> None:
    found = answers([Together(doubling.double, part) for part in (1, "text", 3)])
    assert (found[0], found[2]) == (2, 6)
    assert isinstance(found[1], PayloadTooLarge)
    assert doubling.made[-4:] == [[1, "text", 3], [1], ["text"], [3]]


def test_outage_is_met_once_and_told_to_all(
    doubling: Doubling, answers: Callable[[Sequence[Together]], list[Any]]
) -> None:
    found = answers([Together(doubling.double, part) for part in (1, "outage", 3)])
    assert [type(each) for each in found] == [Unreachable] * 3
    assert doubling.made[-1] == [1, "outage", 3]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_threads_share_operations_and_each_has_its_own_answer(doubling: Doubling, threads: ThreadPoolExecutor) -> None:
    combiner = Combiner(lambda flow: run(flow, lambda step: None))
    parts = [Together(doubling.double, number) for number in range(200)]
    assert [*threads.map(combiner.perform, parts)] == [2 * number for number in range(200)]
    assert sorted(number for made in doubling.made for number in made) == [*range(200)]


def test_operation_that_hangs_holds_up_no_thread_for_long(doubling: Doubling) -> None:
    opened = threading.Event()

    def perform(step: Any) -> None:
        if doubling.made[-1] == [1]:
            opened.wait(LONG_SECONDS)

    combiner = Combiner(lambda flow: run(flow, perform))
    hanging = combiner.begin(Together(doubling.double, 1))
    combiner.hurry()
    until(lambda: doubling.made == [[1]])
    assert combiner.perform(Together(doubling.double, 2)) == 4
    assert not hanging.done()
    opened.set()
    assert hanging.result(LONG_SECONDS) == 2


def test_fault_of_an_operation_reaches_everybody_who_waits(
    answers: Callable[[Sequence[Together]], list[Any]],
) -> None:
    def short(parts: Sequence[Any]) -> Flow[list[Any]]:
        yield Call("numbers", "double")
        return []

    assert [type(each) for each in answers([Together(short, 1), Together(short, 2)])] == [ValueError] * 2


def test_operation_may_answer_a_part_by_its_error(answers: Callable[[Sequence[Together]], list[Any]]) -> None:
    def halved(parts: Sequence[int]) -> Flow[list[Any]]:
        yield Call("numbers", "halve")
        return [ValueError("odd") if part % 2 else part // 2 for part in parts]

    assert [str(each) for each in answers([Together(halved, part) for part in (2, 3, 4)])] == ["1", "odd", "2"]


def test_thread_that_is_ended_leaves_nobody_waiting() -> None:
    def ended(parts: Sequence[Any]) -> Flow[list[Any]]:
        yield Call("numbers", "double")
        raise SystemExit(1)

    combiner = Combiner(lambda flow: run(flow, lambda step: None))
    future = combiner.begin(Together(ended, 1))
    assert isinstance(future.exception(LONG_SECONDS), SystemExit)


def test_threads_end_with_their_operations(doubling: Doubling) -> None:
    combiner = Combiner(lambda flow: run(flow, lambda step: None))
    for number in range(3):
        assert combiner.perform(Together(doubling.double, number)) == 2 * number
    for thread in threading.enumerate():
        if thread.name == "taskq-together":
            thread.join(LONG_SECONDS)
            assert not thread.is_alive()
