"""Drives the flow of a store without a service: a test gives the answers and looks at the recorded calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq_cloud.core.flows import Call, CallError, Gather, Sleep, Trouble

ERROR_MESSAGE = "in the service's own words"


class Recorder:
    """Answers a flow's steps and records the calls.

    Args:
        answer: returns the answer to a call; a ``CallError`` makes the call fail.

    Attributes:
        calls: the calls that the flow has made, in their order.
        pauses: how often the flow has slept.
    """

    def __init__(self, answer: Callable[[Call], Any]) -> None:
        self._answer = answer
        self.calls: list[Call] = []
        self.pauses = 0

    def __call__(self, step: Any) -> Any:
        if isinstance(step, Sleep):
            self.pauses += 1
            return None
        calls = step.calls if isinstance(step, Gather) else [step]
        self.calls += calls
        answers = [self._answer(call) for call in calls]
        if isinstance(step, Gather):
            return answers
        if isinstance(answers[0], CallError):
            raise answers[0]
        return answers[0]

    @property
    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]


def failing(code: str, message: str = ERROR_MESSAGE, trouble: Trouble = Trouble.REFUSED) -> Callable[[Call], CallError]:
    """Make an answer function with which every call fails."""
    return lambda call: CallError(call, code, message, trouble)


def no_calls(step: Any) -> Any:
    """Fail the test: the flow must not make any call."""
    raise AssertionError(f"the flow must make no calls, but it yielded {step!r}")
