"""Scripted answers of SQS, for answers that no local stack gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskq_cloud.core import flows
from taskq_cloud.core.flows import Call, CallError, Gather, Sleep, Trouble


class Script:
    """Answers an SQS broker's calls from a script; calls after its end succeed."""

    def __init__(self, answers: Sequence[Callable[[Sequence[Mapping[str, Any]]], Any]] = ()) -> None:
        self.batches: list[list[Mapping[str, Any]]] = []
        self.sleeps = 0
        self._answers = iter(answers)

    def run(self, flow: Any) -> Any:
        return flows.run(flow, self._perform)

    def _perform(self, step: Any) -> Any:
        if isinstance(step, Sleep):
            self.sleeps += 1
            return None
        if isinstance(step, Gather):
            return [self._answer(call) for call in step.calls]
        answer = self._answer(step)
        if isinstance(answer, CallError):
            raise answer
        return answer

    def _answer(self, call: Call) -> Any:
        if call.operation == "get_queue_url":
            return {"QueueUrl": "https://sqs/" + call.parameters["QueueName"]}
        entries = call.parameters.get("Entries", [])
        self.batches.append(list(entries))
        answer = next(self._answers, accept_all)(entries)
        return CallError(call, *answer) if isinstance(answer, tuple) else answer


def accept_all(entries: Sequence[Mapping[str, Any]]) -> Any:
    return {"Successful": [{"Id": each["Id"], "MessageId": each.get("MessageBody", "")} for each in entries]}


def failing(code: str, message: str, trouble: Trouble) -> Callable[..., Any]:
    return lambda entries: (code, message, trouble)


def refusing(*values: str, code: str, sender_fault: bool, message: str = "why") -> Callable[..., Any]:
    """Accept a batch except for the entries whose body or receipt is in ``values``."""

    def answer(entries: Sequence[Mapping[str, Any]]) -> Any:
        failed = [each for each in entries if each.get("MessageBody", each.get("ReceiptHandle")) in values]
        return {
            "Successful": accept_all([each for each in entries if each not in failed])["Successful"],
            "Failed": [
                {"Id": each["Id"], "Code": code, "Message": message, "SenderFault": sender_fault} for each in failed
            ],
        }

    return answer
