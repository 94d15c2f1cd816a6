"""Flows and their drivers: answers, errors that are raised at the yield, and retried calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.backoff import Backoff
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, RenewCredentials, Sleep, Trouble, arun, retrying, run

GET = Call("svc", "get")
REPEATED = (Trouble.TRANSIENT, Trouble.THROTTLED)


def error(call: Call, trouble: Trouble, code: str = "Code") -> CallError:
    return CallError(call, code, "message", trouble)


def run_async(flow: Flow[Any], perform: Callable[[Any], Any]) -> Any:
    async def performing(step: Any) -> Any:
        await asyncio.sleep(0)
        return perform(step)

    return asyncio.run(arun(flow, performing))


DRIVERS = pytest.mark.parametrize("drive", [run, run_async])


class Service:
    """Answers calls: each operation fails with its given troubles first, and then returns its name."""

    def __init__(self, **troubles: Sequence[Trouble]) -> None:
        self.troubles = {operation: list(each) for operation, each in troubles.items()}
        self.steps: list[Any] = []

    def perform(self, step: Any) -> Any:
        self.steps.append(step)
        if isinstance(step, Call):
            answer = self._answer(step)
            if isinstance(answer, CallError):
                raise answer
            return answer
        if isinstance(step, Gather):
            return [self._answer(call) for call in step.calls]
        return None

    def _answer(self, call: Call) -> Any:
        script = self.troubles.get(call.operation, [])
        return error(call, script.pop(0)) if script else f"{call.operation}!"

    @property
    def sleeps(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, Sleep)]

    @property
    def renewals(self) -> list[str]:
        return [step.service for step in self.steps if isinstance(step, RenewCredentials)]


def one_call(call: Call = GET) -> Flow[Any]:
    return (yield call)


def several(*operations: str) -> Flow[list[Any]]:
    answers: list[Any] = yield Gather([Call("svc", each) for each in operations])
    return answers


@DRIVERS
def test_answers_are_sent_to_the_yield_that_asked(drive: Any) -> None:
    def flow() -> Flow[list[Any]]:
        first = yield Call("svc", "a")
        both = yield Gather([Call("svc", "b"), Call("svc", "c")])
        nothing = yield Sleep(1)
        return [first, both, nothing]

    assert drive(flow(), Service().perform) == ["a!", ["b!", "c!"], None]


@DRIVERS
def test_flow_without_steps_returns_its_value(drive: Any) -> None:
    def flow() -> Flow[int]:
        yield from ()
        return 7

    assert drive(flow(), Service().perform) == 7
    assert drive(retrying(flow()), Service().perform) == 7


@DRIVERS
@pytest.mark.parametrize("wrap", [lambda flow: flow, retrying])
def test_error_is_raised_at_the_yield_of_its_call(drive: Any, wrap: Any) -> None:
    def flow() -> Flow[str]:
        try:
            yield GET
        except CallError as caught:
            return f"caught {caught.code} of {caught.call.operation}"
        return "not thrown"

    assert drive(wrap(flow()), Service(get=[Trouble.REFUSED]).perform) == "caught Code of get"


@DRIVERS
@pytest.mark.parametrize("wrap", [lambda flow: flow, retrying])
def test_flow_that_catches_an_error_gets_its_next_answer(drive: Any, wrap: Any) -> None:
    def flow() -> Flow[str]:
        try:
            yield GET
        except CallError:
            answer: str = yield Call("svc", "other")
            return answer
        return "not thrown"

    assert drive(wrap(flow()), Service(get=[Trouble.REFUSED]).perform) == "other!"


@DRIVERS
@pytest.mark.parametrize("wrap", [lambda flow: flow, retrying])
def test_uncaught_error_is_raised_and_flow_is_closed(drive: Any, wrap: Any) -> None:
    ended = []

    def flow() -> Flow[None]:
        try:
            yield GET
        finally:
            ended.append(True)

    with pytest.raises(CallError, match=r"svc\.get: Code: message"):
        drive(wrap(flow()), Service(get=[Trouble.REFUSED]).perform)
    assert ended == [True]


@DRIVERS
@pytest.mark.parametrize("wrap", [lambda flow: flow, retrying])
def test_interrupt_closes_the_flow_without_being_thrown_in(drive: Any, wrap: Any) -> None:
    seen: list[BaseException] = []

    def flow() -> Flow[None]:
        try:
            yield GET
        except BaseException as caught:
            seen.append(caught)
            raise

    def interrupted(step: Any) -> Any:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        drive(wrap(flow()), interrupted)
    assert [type(each) for each in seen] == [GeneratorExit]


async def test_cancelled_driver_closes_the_flow() -> None:
    closed = asyncio.Event()
    called = asyncio.Event()

    def flow() -> Flow[None]:
        try:
            yield GET
        finally:
            closed.set()

    async def never(step: Any) -> Any:
        called.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(arun(retrying(flow()), never))
    await called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()


@pytest.mark.parametrize("trouble", REPEATED)
def test_transient_failure_is_retried_after_a_wait(trouble: Trouble) -> None:
    service = Service(get=[trouble, trouble])
    assert run(retrying(one_call(), Backoff(5, 0.1, 5.0), random.Random(1)), service.perform) == "get!"
    rng = random.Random(1)
    assert service.sleeps == [rng.uniform(0, 0.1), rng.uniform(0, 0.2)]
    assert service.renewals == []


def test_waits_double_up_to_the_ceiling() -> None:
    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    backoff = Backoff(attempts=6, base_seconds=1, ceiling_seconds=5)
    assert [backoff.seconds(attempt, Longest()) for attempt in range(5)] == [1, 2, 4, 5, 5]


def test_refused_call_is_made_once() -> None:
    service = Service(get=[Trouble.REFUSED])
    with pytest.raises(CallError):
        run(retrying(one_call()), service.perform)
    assert service.steps == [GET]


def test_expired_credentials_are_renewed_once_without_a_wait() -> None:
    service = Service(get=[Trouble.CREDENTIALS])
    assert run(retrying(one_call()), service.perform) == "get!"
    assert service.steps == [GET, RenewCredentials("svc"), GET]

    service = Service(get=[Trouble.CREDENTIALS] * 9)
    with pytest.raises(CallError) as caught:
        run(retrying(one_call()), service.perform)
    assert caught.value.trouble is Trouble.CREDENTIALS
    assert service.steps == [GET, RenewCredentials("svc"), GET]


def test_flow_sees_only_the_failure_of_the_last_attempt() -> None:
    service = Service(get=[Trouble.TRANSIENT] * 9)
    with pytest.raises(CallError):
        run(retrying(one_call(), Backoff(attempts=3)), service.perform)
    assert service.steps.count(GET) == 3
    assert len(service.sleeps) == 2, "no wait follows the last attempt"


def test_only_failed_calls_of_a_gather_are_retried() -> None:
    service = Service(b=[Trouble.THROTTLED], c=[Trouble.REFUSED], d=[Trouble.CREDENTIALS, Trouble.TRANSIENT])
    answers = run(retrying(several("a", "b", "c", "d")), service.perform)
    assert [str(answer) for answer in answers] == ["a!", "b!", "svc.c: Code: message", "d!"]
    rounds = [[call.operation for call in step.calls] for step in service.steps if isinstance(step, Gather)]
    assert rounds == [["a", "b", "c", "d"], ["b", "d"]]
    assert service.steps[-1] == Call("svc", "d"), "a single call is not gathered"
    assert service.renewals == ["svc"]


def test_credentials_of_each_service_are_renewed_once() -> None:
    def flow() -> Flow[list[Any]]:
        answers: list[Any] = yield Gather([Call("one", "a"), Call("one", "b"), Call("two", "c")])
        return answers

    service = Service(a=[Trouble.CREDENTIALS], b=[Trouble.CREDENTIALS], c=[Trouble.CREDENTIALS])
    assert run(retrying(flow()), service.perform) == ["a!", "b!", "c!"]
    assert service.renewals == ["one", "two"]
    assert service.sleeps == []


def test_empty_gather_makes_no_calls() -> None:
    assert run(retrying(several()), Service().perform) == []


def test_steps_of_other_kinds_pass_through_retrying() -> None:
    def flow() -> Generator[Any, Any, Any]:
        return (yield "an invocation")

    assert run(retrying(flow()), lambda step: f"{step} ran") == "an invocation ran"


TROUBLES = st.lists(st.sampled_from(Trouble), max_size=8)


def expected(script: Sequence[Trouble], attempts: int) -> tuple[int, Trouble | None]:
    """The number of attempts at a single call, and the trouble it ends with; restates the rule of ``retrying``."""
    renewed = False
    for attempt, trouble in enumerate(script, start=1):
        again = trouble in REPEATED or (trouble is Trouble.CREDENTIALS and not renewed)
        renewed |= trouble is Trouble.CREDENTIALS
        if not again or attempt == attempts:
            return attempt, trouble
    return len(script) + 1, None


@given(script=TROUBLES, attempts=st.integers(1, 6))
def test_any_failures_of_one_call_follow_the_rule(script: list[Trouble], attempts: int) -> None:
    service = Service(get=script)
    calls, end = expected(script, attempts)
    flow = retrying(one_call(), Backoff(attempts=attempts))
    if end is None:
        assert run(flow, service.perform) == "get!"
    else:
        with pytest.raises(CallError) as caught:
            run(flow, service.perform)
        assert caught.value.trouble is end
    assert service.steps.count(GET) == calls <= attempts


@given(scripts=st.lists(TROUBLES, min_size=1, max_size=5), attempts=st.integers(1, 6))
def test_any_failures_of_a_gather_keep_to_the_attempts(scripts: list[list[Trouble]], attempts: int) -> None:
    names = [f"call{i}" for i in range(len(scripts))]
    service = Service(**dict(zip(names, scripts, strict=True)))
    answers = run(retrying(several(*names), Backoff(attempts=attempts)), service.perform)
    made = [
        call.operation
        for step in service.steps
        for call in (step.calls if isinstance(step, Gather) else [step] if isinstance(step, Call) else [])
    ]
    assert all(made.count(name) <= attempts for name in names)
    for name, script, answer in zip(names, scripts, answers, strict=True):
        if not set(script) - set(REPEATED):  # credentials are renewed once for all calls of a service
            calls, end = expected(script, attempts)
            assert made.count(name) == calls
            assert (answer.trouble if isinstance(answer, CallError) else None) is end
    assert len(service.sleeps) < attempts
    assert len(service.renewals) <= 1
