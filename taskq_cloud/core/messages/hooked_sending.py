"""The hooks around a message that is sent. Only applications with hooks import this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from taskq_cloud.core import serializers
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.messages.headers import header_clash
from taskq_cloud.core.model.hook_calls import call_quick, guarded, hooks_of
from taskq_cloud.core.model.hooks import Call, HookTable
from taskq_cloud.core.model.message import Message, Refused, Sent
from taskq_cloud.errors import EncodeError

OWN_PREFIX: Final = "taskq_"
"""The beginning of the names of this package's own headers, which no hook sees."""


class HasCall(Protocol):
    """A message that is ready to be sent."""

    @property
    def call(self) -> Call | None:
        """The message as its hooks see it; None: it has no hooks."""
        ...


def prepared(table: HookTable, message: Message, queue: str, carried: Mapping[str, Any]) -> tuple[Message, Call | None]:
    """Call ``before_send``, and return the message with the headers that it has set, and what ``answered`` needs.

    Args:
        table: the application's hooks, and those of its tasks.
        message: the message.
        queue: the queue that it goes to.
        carried: the options by which it is carried, by the names that ``apply_async`` gives them.
    """
    hooks = hooks_of(table, message.task)
    if not hooks:
        return message, None
    call = Call(message, queue, _options(message, carried))
    own = {name: value for name, value in message.headers.items() if name.startswith(OWN_PREFIX)}
    headers = {name: value for name, value in message.headers.items() if name not in own}
    for each in hooks:
        call.headers = dict(headers)
        with guarded(each, "before_send", message.task, message.id):
            each.before_send(call)
            _check(call.headers, headers)
            headers = dict(call.headers)
    call.headers = headers
    call.message = replace(call.message, headers={**headers, **own})
    return call.message, call


def answered(table: HookTable, addressed: Iterable[HasCall], answers: Iterable[Sent | Refused]) -> None:
    """Call ``after_send`` for each message that the broker has accepted."""
    for each, answer in zip(addressed, answers, strict=True):
        call = each.call
        if call is not None and isinstance(answer, Sent):
            call.message_id = answer.message_id
            call_quick(hooks_of(table, call.task)[::-1], "after_send", call)


def _check(headers: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Check the headers that a hook has set.

    Raises:
        ValueError: the name of a header is not a text, or is the protocol's own.
        EncodeError: a header can't be encoded.
    """
    for name, value in headers.items():
        if name in before and before[name] is value:
            continue
        if not isinstance(name, str) or name.startswith(OWN_PREFIX):
            raise ValueError(f"the name of a header is a text that doesn't begin with {OWN_PREFIX}, not {name!r:.100}")
        if clash := header_clash([name]):
            raise ValueError(clash)
        try:
            serializers.dumps(value)
        except EncodeError as error:
            raise EncodeError(f"header {name!r} is {error}") from error


def _options(message: Message, carried: Mapping[str, Any]) -> dict[str, Any]:
    hard, soft = message.timelimit
    known = {
        "task_id": message.id,
        "eta": message.eta,
        "expires": message.expires,
        "ignore_result": message.ignore_result,
        "time_limit": hard,
        "soft_time_limit": soft,
        "priority": message.priority or None,
        "shadow": message.shadow,
        "argsrepr": message.argsrepr,
        "kwargsrepr": message.kwargsrepr,
        "link": message.embed.callbacks,
        "link_error": message.embed.errbacks,
        **carried,
    }
    return {name: value for name, value in known.items() if value is not None and value not in ((), [], {})}
