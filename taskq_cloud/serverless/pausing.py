"""Stops a flow at its last effect, so that the next record is run while this one's result is being saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from taskq_cloud.core.flows import Together
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
        ended: T = _drive(self.flow, self.effect.result, perform, to_last=False)
        return ended


def run_to_last(
    flow: Generator[Any, Any, T], perform: Callable[[Any], Any], begin: Callable[[Together], Future[Any]]
) -> T | Paused[T]:
    """Drive a flow to its end, or to its last effect, which is then begun."""
    ended: T | Together = _drive(flow, lambda: None, perform, to_last=True)
    return Paused(flow, begin(ended), time.monotonic()) if isinstance(ended, Together) else ended


def _drive(
    flow: Generator[Any, Any, Any], first_answer: Callable[[], Any], perform: Callable[[Any], Any], *, to_last: bool
) -> Any:
    """Drive a flow on. Return its value, or with ``to_last`` its last effect, which is not performed.

    Args:
        flow: the flow: not begun, or stopped at a step.
        first_answer: returns the answer to that step, or None if the flow has not begun.
        perform: performs a step, and returns its answer.
        to_last: whether to stop at the last effect.
    """
    step: Any = None
    try:
        while True:
            try:
                answer = first_answer() if step is None else perform(step)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
            if to_last and isinstance(step, Together) and step.last:
                return step
    except StopIteration as stop:
        return stop.value
    except BaseException:
        flow.close()
        raise
