"""The request of a task, as Celery's tasks see it: ``task.request``."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from socket import gethostname
from typing import TYPE_CHECKING, Any

from taskq_cloud.celery.native import running
from taskq_cloud.celery.utils.functional import maybe_list

if TYPE_CHECKING:
    from taskq_cloud.core.model.message import Embed, Message
    from taskq_cloud.core.model.outcome import Invocation


class Context:
    """What a task knows about its call. Attributes can be set, and stay for the length of the run.

    Args:
        args: one mapping of attributes.
        kwargs: further attributes by name.
    """

    _children: list[Any] | None = None
    _protected = 0
    args: Sequence[Any] | None = None
    callbacks: Sequence[Any] | None = None
    called_directly = True
    chain: Sequence[Any] | None = None
    chord: Any = None
    correlation_id: str | None = None
    delivery_info: dict[str, Any] | None = None
    errbacks: Sequence[Any] | None = None
    eta: Any = None
    expires: Any = None
    group: str | None = None
    group_index: int | None = None
    headers: Mapping[str, Any] | None = None
    hostname: str | None = None
    id: str | None = None
    ignore_result: bool = False
    is_eager = False
    kwargs: Mapping[str, Any] | None = None
    logfile: str | None = None
    loglevel: Any = None
    origin: str | None = None
    parent_id: str | None = None
    properties: Mapping[str, Any] | None = None
    replaced_task_nesting = 0
    reply_to: str | None = None
    retries = 0
    root_id: str | None = None
    shadow: str | None = None
    soft_time_limit: float | None = None
    stamped_headers: Sequence[str] | None = None
    stamps: Mapping[str, Any] | None = None
    taskset: str | None = None
    time_limit: float | None = None
    timelimit: Sequence[float | None] | None = None
    utc: bool | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.update(*args, **kwargs)
        if self.headers is None:
            self.headers = self._get_custom_headers(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Context: {vars(self)!r}>"

    @staticmethod
    def _get_custom_headers(*args: Any, **kwargs: Any) -> dict[str, Any] | None:
        given = dict(*args, **kwargs)
        own = {
            name: value for name, value in given.items() if name not in _PROTOCOL_HEADERS and not hasattr(Context, name)
        }
        return own or None

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set attributes, given as ``dict.update`` takes them."""
        vars(self).update(*args, **kwargs)

    def clear(self) -> None:
        """Set all attributes to their defaults."""
        vars(self).clear()

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute, or ``default`` if there is none of that name."""
        return getattr(self, key, default)

    def as_execution_options(self) -> dict[str, Any]:
        """The options with which a signature repeats this call."""
        hard, soft = self.timelimit or (None, None)
        options: dict[str, Any] = {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": soft,
            "time_limit": hard,
            "headers": {k: v for k, v in (self.headers or {}).items() if k != "x-death"},
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }
        if self.stamps is not None and self.stamped_headers is not None:
            options["stamped_headers"] = self.stamped_headers
            options |= {name: value for name, value in self.stamps.items() if name in self.stamped_headers}
        return options

    def ignores_result(self, task: Any) -> Any:
        """Whether the call ignores its result; if it doesn't say, whether its task does."""
        own = vars(self).get("ignore_result")
        return task.ignore_result if own is None else own

    @property
    def children(self) -> list[Any]:
        """The results of the tasks that this task has called."""
        if self._children is None:
            self._children = []
        return self._children


_PROTOCOL_HEADERS = frozenset(
    {
        "argsrepr",
        "compression",
        "content_encoding",
        "content_type",
        "kwargsrepr",
        "lang",
        "stamped_headers",
        "stamps",
        "task",
        "timestamp",
    }
)


_IN_PLACE = {"is_eager": True, "exchange": None, "routing_key": None, "priority": None}


def _delivery_of(invocation: Invocation) -> dict[str, Any]:
    return {
        "exchange": "",
        "routing_key": invocation.queue,
        "priority": invocation.message.priority,
        "redelivered": invocation.receive_count > 1,
        "receive_count": invocation.receive_count,
        "message_id": invocation.message_id,
    }


def context_of(invocation: Invocation) -> Context:
    """Make the request of a run.

    Args:
        invocation: the run, with the message that was received.
    """
    message = invocation.message
    eager = invocation.queue is None
    own = {name: value for name, value in message.headers.items() if not name.startswith("taskq_")}
    request = Context(
        args=tuple(message.args) if eager else list(message.args),
        **({} if eager else {"argsrepr": message.argsrepr, "kwargsrepr": message.kwargsrepr}),
        called_directly=False,
        correlation_id=None if eager else message.id,
        delivery_info=_IN_PLACE.copy() if eager else _delivery_of(invocation),
        eta=None if message.eta is None else message.eta.isoformat(),
        expires=None if message.expires is None else message.expires.isoformat(),
        group=message.group,
        group_index=message.group_index,
        hostname=gethostname() if eager else invocation.hostname,
        id=message.id,
        is_eager=eager,
        kwargs=dict(message.kwargs),
        origin=message.origin,
        parent_id=message.parent_id,
        replaced_task_nesting=message.replaced_task_nesting,
        reply_to=message.reply_to,
        retries=message.retries,
        root_id=message.root_id or message.id,
        shadow=message.shadow,
        stamped_headers=list(message.stamped_headers) if message.stamped_headers else None,
        stamps=dict(message.stamps) or (None if eager else {}),
        task=message.task,
        timelimit=None if eager else [invocation.time_limit, invocation.soft_time_limit],
        time_limit=invocation.time_limit,
        soft_time_limit=invocation.soft_time_limit,
        loglevel=0 if eager else None,
        **_following(message),
    )
    request.update(headers=own or None, invocation=invocation)
    _add_what_few_have(request, message, own, eager=eager)
    return request


def _following(message: Message) -> dict[str, Any]:
    """The signatures that follow a call, under the names that they have in its request."""
    embed = message.embed
    return {
        "callbacks": list(embed.callbacks) if embed.callbacks else None,
        "chain": list(embed.chain) if embed.chain else None,
        "chord": embed.chord,
        "errbacks": list(embed.errbacks) if embed.errbacks else None,
    }


def changed_arguments(request: Context) -> tuple[list[Any] | None, dict[str, Any] | None]:
    """The positional and the keyword arguments of a request, each None if it is that of the message still."""
    invocation: Invocation | None = request.get("invocation")
    if invocation is None:
        return None, None
    message, args, kwargs = invocation.message, list(request.args or ()), dict(request.kwargs or {})
    return (
        None if _are_same(args, list(message.args)) else args,
        None if _are_same(kwargs, dict(message.kwargs)) else kwargs,
    )


def arguments_of_retry(request: Context, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments of a retry: those given, or those of the request if they have been changed, or None."""
    own_args, own_kwargs = changed_arguments(request)
    return (own_args if args is None else tuple(args)), (own_kwargs if kwargs is None else kwargs)


def _are_same(one: Any, other: Any) -> bool:
    """Whether two collections have the same objects in them."""
    if len(one) != len(other):
        return False
    if isinstance(one, dict):
        return all(name in other and other[name] is value for name, value in one.items())
    return all(map(operator.is_, one, other))


def changed_embed_of(request: Context, message: Message, task: Any) -> Embed | None:
    """What follows a run after its task has changed its request; None if that is what the message says.

    Args:
        request: the request, after the run.
        message: the message of the run.
        task: the task.
    """
    before = _following(message)
    if all(getattr(request, name) == of for name, of in before.items()):
        return None
    from taskq_cloud.core.model.message import Embed  # few tasks change what follows them

    known = {id(each) for of in before.values() for each in (of if isinstance(of, list) else [of])}

    def written(each: Any) -> Any:
        from taskq_cloud.celery.canvas.native_form import plain  # which needs this package's application

        return plain(each, task.app) if id(each) not in known and type(each) is not dict else each

    lists = {name: [*map(written, maybe_list(getattr(request, name)) or ())] or None for name in _LISTS}
    return Embed(chord=None if request.chord is None else written(request.chord), **lists)


_LISTS = ("callbacks", "errbacks", "chain")


def _add_what_few_have(request: Context, message: Message, own: dict[str, Any], *, eager: bool) -> None:
    if not eager:  # the headers of a message are attributes of its request, by which tracing finds its own
        request.update({name: value for name, value in own.items() if not hasattr(request, name)})
    if eager:
        known = dict(running.in_place_request.get() or {})
        if known.pop("id", None) == message.id:
            request.update(known)
    if message.ignore_result is not None:
        request.ignore_result = message.ignore_result
