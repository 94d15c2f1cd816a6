"""Stops a flow at its last effect, so that the next record is run while this one's result is being saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from taskq_cloud.core.flows import Together, run
from taskq_cloud.core.lazy.values import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paused(Generic[T]):
    """A flow whose last effect is under way.

    Args:
        flow: the flow.
        effect: the answer to the step at which it was stopped.
        paused_at: when it was stopped, by the monotonic clock.
    """

    flow: Generator[Any, Any, T]
    effect: Future[Any]
    paused_at: float

    def finish(self, perform: Callable[[Any], Any]) -> T:
        """Wait for the effect, and drive the flow to its end."""
        return run(_rest(self.flow, self.effect), perform)


def run_to_last(
    flow: Generator[Any, Any, T], perform: Callable[[Any], Any], begin: Callable[[Together], Future[Any]]
) -> T | Paused[T]:
    """Drive a flow to its end, or to its last effect, which is then begun."""
    try:
        step = next(flow)
        while not (isinstance(step, Together) and step.last):
            try:
                answer = perform(step)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
        return Paused(flow, begin(step), time.monotonic())
    except StopIteration as stop:
        result: T = stop.value
        return result
    except BaseException:
        flow.close()
        raise


def _rest(flow: Generator[Any, Any, T], effect: Future[Any]) -> Generator[Any, Any, T]:
    step = None
    try:
        while True:
            try:
                answer = effect.result() if step is None else (yield step)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()
