"""Messages and context managers for tests of code that would get real ones from a worker."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from numbers import Real
from typing import Any
from unittest.mock import Mock

from taskq_cloud.celery.utils import uuid
from taskq_cloud.core import serializers

__all__ = ("ContextMock", "TaskMessage", "TaskMessage1", "task_message_from_sig")


def _message(task_id: str, headers: dict[str, Any], payload: Any) -> Any:
    message = Mock(name=f"TaskMessage-{task_id}")
    message.headers = headers
    message.payload = payload
    message.content_type, message.content_encoding = "application/json", "utf-8"
    message.body = serializers.dumps(payload)
    return message


def TaskMessage(
    name: str,
    id: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callbacks: Any = None,
    errbacks: Any = None,
    chain: Any = None,
    shadow: str | None = None,
    utc: bool | None = None,
    **options: Any,
) -> Any:
    """Return a task's message in protocol 2, as a mock.

    Args:
        name: the task's name.
        id: the task's id; None: a new one.
        args: positional arguments.
        kwargs: keyword arguments.
        callbacks: signatures that follow a success.
        errbacks: signatures that follow a failure.
        chain: the signatures that follow in a chain.
        shadow: another name for logs.
        utc: has no effect in this protocol.
        options: more headers.
    """
    task_id = id or uuid()
    embed = {"callbacks": callbacks, "errbacks": errbacks, "chain": chain}
    headers = {"id": task_id, "task": name, "shadow": shadow, **options}
    return _message(task_id, headers, (args, kwargs or {}, embed))


def TaskMessage1(
    name: str,
    id: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callbacks: Any = None,
    errbacks: Any = None,
    chain: Any = None,
    **options: Any,
) -> Any:
    """Return a task's message in protocol 1, as a mock; the arguments are those of ``TaskMessage``."""
    task_id = id or uuid()
    payload = {
        "task": name,
        "id": task_id,
        "args": args,
        "kwargs": kwargs or {},
        "callbacks": callbacks,
        "errbacks": errbacks,
        **options,
    }
    return _message(task_id, {}, payload)


def task_message_from_sig(app: Any, sig: Any, utc: bool = True, TaskMessage: Any = TaskMessage) -> Any:
    """Return the message of a signature, as a mock.

    Args:
        app: the application, whose clock counts.
        sig: the signature, which is given an id.
        utc: passed on.
        TaskMessage: makes the message.
    """
    sig.freeze()
    options = sig.options
    links = {key: options.pop(name, None) for key, name in (("callbacks", "link"), ("errbacks", "link_error"))}
    countdown = options.pop("countdown", None)
    eta = app.now() + timedelta(seconds=countdown) if countdown else options.pop("eta", None)
    expires = options.pop("expires", None)
    if expires and isinstance(expires, Real):
        expires = app.now() + timedelta(seconds=float(expires))
    return TaskMessage(
        sig.task,
        id=sig.id,
        args=sig.args,
        kwargs=sig.kwargs,
        **{key: [dict(each) for each in linked] if linked else None for key, linked in links.items()},
        eta=_written(eta),
        expires=_written(expires),
        utc=utc,
        **options,
    )


def _written(time: Any) -> Any:
    return time.isoformat() if isinstance(time, datetime) else time


class _ContextMock(Mock):
    """A mock whose class has the methods of a context manager, which ``with`` looks for there."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def ContextMock(*args: Any, **kwargs: Any) -> Any:
    """Return a mock that is also a context manager, and gives itself."""
    made: Any = _ContextMock(*args, **kwargs)
    made.attach_mock(_ContextMock(), "__enter__")
    made.attach_mock(_ContextMock(), "__exit__")
    made.__enter__.return_value = made
    made.__exit__.return_value = None  # a true value would hide exceptions
    return made
