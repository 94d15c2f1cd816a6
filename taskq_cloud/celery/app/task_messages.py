"""Task messages in Celery's protocols, as headers, properties and body.

``taskq_cloud.core.messages.protocol`` writes the messages for the broker. The functions here show a message as Celery's
objects: to signals, and to code that writes messages of its own.
"""

from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

from taskq_cloud.celery.utils import cached_property
from taskq_cloud.celery.utils.nodenames import anon_nodename
from taskq_cloud.celery.utils.time import add_seconds_to_datetime, maybe_make_aware

__all__ = ("INT_MIN", "TaskMessages", "task_message")

#: The earliest number of seconds that a time can be computed with.
INT_MIN = -2147483648


class task_message(NamedTuple):
    """A task's message.

    Args:
        headers: the headers.
        properties: the properties: ``correlation_id`` and ``reply_to``.
        body: the arguments and the signatures that follow; in protocol 1 everything.
        sent_event: the event ``task-sent``, or None.
    """

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: Any
    sent_event: dict[str, Any] | None


class TaskMessages:
    """Makes messages by an application's settings.

    Args:
        app: the application.
    """

    #: The longest text that shows the positional arguments, in characters.
    argsrepr_maxsize = 1024
    #: The longest text that shows the keyword arguments, in characters.
    kwargsrepr_maxsize = 1024

    def __init__(self, app: Any) -> None:
        self.app = app

    @cached_property
    def utc(self) -> Any:
        """Whether times are in UTC."""
        return self.app.conf.enable_utc

    def as_task_v2(
        self,
        task_id: Any,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: Any = None,
        eta: Any = None,
        group_id: Any = None,
        group_index: Any = None,
        expires: Any = None,
        retries: int = 0,
        chord: Any = None,
        callbacks: Any = None,
        errbacks: Any = None,
        reply_to: Any = None,
        time_limit: Any = None,
        soft_time_limit: Any = None,
        create_sent_event: bool = False,
        root_id: Any = None,
        parent_id: Any = None,
        shadow: Any = None,
        chain: Any = None,
        now: Any = None,
        timezone: Any = None,
        origin: Any = None,
        ignore_result: Any = False,
        argsrepr: Any = None,
        kwargsrepr: Any = None,
        stamped_headers: Any = None,
        replaced_task_nesting: int = 0,
        **options: Any,
    ) -> task_message:
        """Return the message in protocol 2.

        Raises:
            TypeError: if the arguments aren't a list and a mapping.
            ValueError: if ``countdown`` or ``expires`` is out of range.
        """
        args, kwargs = _checked_arguments(args, kwargs)
        eta = self._time("countdown", countdown, now, timezone, aware=True) if countdown else eta
        if isinstance(expires, Real):
            expires = self._time("expires", expires, now, timezone, aware=True)
        root_id = root_id or task_id
        levels = self.app.conf.task_repr_maxlevels
        if argsrepr is None:
            argsrepr = saferepr(args, self.argsrepr_maxsize, maxlevels=levels)
        if kwargsrepr is None:
            kwargsrepr = saferepr(kwargs, self.kwargsrepr_maxsize, maxlevels=levels)
        headers = {
            "lang": "py",
            "task": name,
            "id": task_id,
            "shadow": shadow,
            "eta": _written(eta),
            "expires": _written(expires),
            "group": group_id,
            "group_index": group_index,
            "retries": retries,
            "timelimit": [time_limit, soft_time_limit],
            "root_id": root_id,
            "parent_id": parent_id,
            "argsrepr": argsrepr,
            "kwargsrepr": kwargsrepr,
            "origin": origin or anon_nodename(),
            "ignore_result": ignore_result,
            "replaced_task_nesting": replaced_task_nesting,
            "stamped_headers": stamped_headers,
            "stamps": {header: options[header] for header in stamped_headers or ()},
        }
        embed = {"callbacks": callbacks, "errbacks": errbacks, "chain": chain, "chord": chord}
        event = {"uuid": task_id, "root_id": root_id, "parent_id": parent_id}
        return task_message(
            headers=headers,
            properties=_properties(task_id, reply_to),
            body=(args, kwargs, embed),
            sent_event=event | _event(headers, argsrepr, kwargsrepr) if create_sent_event else None,
        )

    def as_task_v1(
        self,
        task_id: Any,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: Any = None,
        eta: Any = None,
        group_id: Any = None,
        group_index: Any = None,
        expires: Any = None,
        retries: int = 0,
        chord: Any = None,
        callbacks: Any = None,
        errbacks: Any = None,
        reply_to: Any = None,
        time_limit: Any = None,
        soft_time_limit: Any = None,
        create_sent_event: bool = False,
        root_id: Any = None,
        parent_id: Any = None,
        shadow: Any = None,
        now: Any = None,
        timezone: Any = None,
        **compat_kwargs: Any,
    ) -> task_message:
        """Return the message in protocol 1, which Celery 3 reads.

        Raises:
            TypeError: if the arguments aren't a list and a mapping.
            ValueError: if ``countdown`` or ``expires`` is out of range.
        """
        args, kwargs = _checked_arguments(args, kwargs)
        eta = self._time("countdown", countdown, now) if countdown else eta
        if isinstance(expires, Real):
            expires = self._time("expires", expires, now)
        body = {
            "task": name,
            "id": task_id,
            "args": args,
            "kwargs": kwargs,
            "group": group_id,
            "group_index": group_index,
            "retries": retries,
            "eta": _written(eta),
            "expires": _written(expires),
            "utc": self.utc,
            "callbacks": callbacks,
            "errbacks": errbacks,
            "timelimit": (time_limit, soft_time_limit),
            "taskset": group_id,
            "chord": chord,
        }
        event = {"uuid": task_id} | _event(body, saferepr(args), saferepr(kwargs)) if create_sent_event else None
        return task_message(headers={}, properties=_properties(task_id, reply_to), body=body, sent_event=event)

    def _time(self, what: str, seconds: Any, now: Any, timezone: Any = None, *, aware: bool = False) -> Any:
        """Return the time that is so many seconds from now."""
        self._verify_seconds(seconds, what)
        time = add_seconds_to_datetime(now or self.app.now(), seconds)
        return maybe_make_aware(time, tz=timezone or self.app.timezone) if aware else time

    def _verify_seconds(self, s: Any, what: str) -> Any:
        if s < INT_MIN:
            raise ValueError(f"{what} is out of range: {s!r}")
        return s


def saferepr(value: Any, maxlen: int | None = None, maxlevels: int = 3) -> str:
    """Return a value as text of a limited length."""
    from taskq_cloud.celery.utils.saferepr import saferepr as limited  # needed where messages are made, not before

    text: str = limited(value, maxlen, maxlevels)
    return text


def _checked_arguments(args: Any, kwargs: Any) -> tuple[Any, Any]:
    args, kwargs = args or (), kwargs or {}
    if not isinstance(args, list | tuple):
        raise TypeError("task args must be a list or tuple")
    if not isinstance(kwargs, Mapping):
        raise TypeError("task keyword arguments must be a mapping")
    return args, kwargs


def _written(time: Any) -> Any:
    """Return a time as text. The time of a task that is retried is text already."""
    return time if isinstance(time, str) or not time else time.isoformat()


def _properties(task_id: Any, reply_to: Any) -> dict[str, Any]:
    return {"correlation_id": task_id, "reply_to": reply_to or ""}


def _event(fields: Mapping[str, Any], argsrepr: str, kwargsrepr: str) -> dict[str, Any]:
    """Return the part of the event ``task-sent`` that both protocols have."""
    return {
        "name": fields["task"],
        "args": argsrepr,
        "kwargs": kwargsrepr,
        "retries": fields["retries"],
        "eta": fields["eta"],
        "expires": fields["expires"],
    }
