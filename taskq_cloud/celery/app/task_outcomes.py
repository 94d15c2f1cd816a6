"""What a running task can ask for, and what it is told of its end: the other methods of ``Task``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.celery.app.context import arguments_of_retry
from taskq_cloud.celery.exceptions import Ignore, ImproperlyConfigured, Reject, Retry
from taskq_cloud.celery.utils.functional import maybe_list
from taskq_cloud.core.model.option_values import RETRY
from taskq_cloud.errors import Replaced

_NATIVE_RETRY_OPTIONS: Final = frozenset(RETRY) - {"countdown", "eta", "max_retries", "link", "link_error"}


def retry(
    self: Any,
    args: Any = None,
    kwargs: Any = None,
    exc: Any = None,
    throw: bool = True,
    eta: Any = None,
    countdown: Any = None,
    max_retries: int | None = None,
    **options: Any,
) -> Any:
    """Run the task again later, by raising ``Retry``.

    Args:
        self: the task.
        args: positional arguments of the next run; None: those of this run.
        kwargs: keyword arguments of the next run; None: those of this run.
        exc: the exception that is raised if no retry is left.
        throw: False returns the exception; the task is retried when it has returned.
        eta: the time of the next run.
        countdown: seconds until the next run; without both: ``default_retry_delay``.
        max_retries: the number of retries that are allowed; None: the task's own.
        options: further options of the next call.

    Raises:
        Retry: the task runs again.
        MaxRetriesExceededError: no retry is left, and there is no ``exc``.
        Exception: the task was called as a function, or no retry is left: ``exc``, or the exception being handled.
    """
    request = self.request
    retries = (request.retries or 0) + 1
    most = self.max_retries
    if max_retries is not None:
        most = self.override_max_retries = max_retries
    if request.called_directly:
        _raise(exc or Retry("Task can be retried", None))
    when = countdown if countdown is not None or eta else self.default_retry_delay
    sig = self.signature_from_request(request, args, kwargs, countdown=when, eta=eta, retries=retries, **options)
    if most is not None and retries > most:
        _raise_exhausted(self, sig, exc)
    args, kwargs = arguments_of_retry(request, args, kwargs)
    asked = Retry(
        exc=exc,
        when=eta or when,
        is_eager=bool(request.is_eager),
        sig=sig,
        args=args,
        kwargs=kwargs,
        max_retries=most,
        options=_native_retry_options(self, options),
    )
    _ask_for(request, asked, at_the_end=not throw)
    if throw:
        raise asked
    return asked


def _ask_for(request: Any, asked: Retry, *, at_the_end: bool) -> None:
    """Note a retry that is raised when the function has returned, or send it if no worker of ours will do that."""
    if getattr(request, "invocation", None) is None and not request.is_eager:
        _send_retry(asked.sig)
    elif at_the_end:
        request.retry_asked_for = asked


def add_trail(self: Any, result: Any) -> Any:
    """Note a result among the children of the running call, unless ``trail`` is off; returns the result.

    Args:
        self: the task.
        result: the result.
    """
    if self.trail:
        self.request.children.append(result)
    return result


def _raise_exhausted(self: Any, sig: Any, exc: Any) -> None:
    """Raise what a task ends with that has no retries left."""
    if exc:
        _raise(exc)
    raise self.MaxRetriesExceededError(
        f"Can't retry {self.name}[{self.request.id}] args:{sig.args} kwargs:{sig.kwargs}",
        task_args=sig.args,
        task_kwargs=sig.kwargs,
    )


def _send_retry(sig: Any) -> None:
    """Send the next attempt of a call whose request was made by hand: no worker of ours will do it."""
    try:
        sig.apply_async()
    except Exception as error:
        raise Reject(error, requeue=False) from error


def _raise(error: Any) -> None:
    """Raise an exception, from the one that is being handled unless it is the same."""
    handled = sys.exc_info()[1]
    if handled is None:
        raise error
    if handled is error or (isinstance(error, type) and isinstance(handled, error)):
        raise handled
    raise error from handled


def _native_retry_options(task: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if name in _NATIVE_RETRY_OPTIONS and value is not None}
    if "queue" in given or {"routing_key", "exchange"} & options.keys():
        from taskq_cloud.celery.app.amqp import native_queue  # few retries change their queue

        given["queue"] = native_queue(task.app, dict(options))
    return given


def signature_from_request(
    self: Any, request: Any = None, args: Any = None, kwargs: Any = None, queue: Any = None, **extra_options: Any
) -> Any:
    """Make a signature that repeats a call.

    Args:
        self: the task.
        request: the request of the call; None: of the running one.
        args: other positional arguments; None: the call's own.
        kwargs: other keyword arguments; None: the call's own.
        queue: another queue; None: the queue that the call came from.
        extra_options: further options.
    """
    request = self.request if request is None else request
    delivery = request.delivery_info or {}
    options = {**request.as_execution_options(), "ignore_result": request.ignores_result(self), **extra_options}
    if delivery.get("priority") is not None:
        options["priority"] = delivery["priority"]
    if queue:
        options["queue"] = queue
    elif delivery.get("exchange") == "" and delivery.get("routing_key"):
        options["queue"] = delivery["routing_key"]
    else:
        options.update(delivery)
    return self.signature(
        request.args if args is None else args,
        request.kwargs if kwargs is None else kwargs,
        options,
        type=self,
        **extra_options,
    )


def replace(self: Any, sig: Any) -> Any:
    """Run another task or workflow instead of the rest of this task.

    Args:
        self: the task.
        sig: the signature of the replacement.

    Raises:
        ImproperlyConfigured: the signature has a place in another chord, or is an empty chain.
        Ignore: the task has ended; the replacement takes its place. A task that runs in place returns the value.
    """
    from taskq_cloud.celery.canvas import _chain  # few tasks are replaced

    if "chord" in sig.options:
        raise ImproperlyConfigured("A signature replacing a task must not be part of a chord")
    if isinstance(sig, _chain) and not getattr(sig, "tasks", True):
        raise ImproperlyConfigured("Cannot replace with an empty chain")
    if getattr(self.request, "invocation", None) is None:
        sig = _in_place_of(self, sig)
    return self.on_replace(sig)


def _in_place_of(self: Any, sig: Any) -> Any:
    """Give a replacement the id and the place of a call whose request was made by hand."""
    from taskq_cloud.celery.canvas import _chain, group, signature  # few tasks are replaced

    request, accumulate = self.request, self.app.tasks["celery.accumulate"]
    if isinstance(sig, group):
        sig |= accumulate.s(index=0)
    if isinstance(sig, _chain) and isinstance(sig.tasks[-1], group):
        sig.tasks = [*sig.tasks[:-1], sig.tasks[-1] | accumulate.s(index=0)]
    for callback in maybe_list(request.callbacks) or ():
        sig.link(callback)
    for errback in maybe_list(request.errbacks) or ():
        sig.link_error(errback)
    if isinstance(sig, _chain) and "link" in sig.options:
        sig.tasks[-1].options.setdefault("link", []).extend(maybe_list(sig.options.pop("link")))
    sig.freeze(request.id)
    nesting = request.get("replaced_task_nesting", 0) + 1
    sig.set(
        chord=request.chord,
        group_id=request.group,
        group_index=request.group_index,
        root_id=request.root_id,
        replaced_task_nesting=nesting,
    )
    for each in sig.tasks if isinstance(sig, _chain) else ():
        each.set(replaced_task_nesting=nesting)
    for each in reversed(request.chain or ()):
        sig |= signature(each, app=self.app).set(replaced_task_nesting=nesting)
    return sig


def on_replace(self: Any, sig: Any) -> Any:
    """Send the replacement of the running task, or run it if the task runs in place.

    Args:
        self: the task.
        sig: the signature of the replacement.
    """
    from taskq_cloud.celery.canvas.native_form import plain  # few tasks are replaced

    if getattr(self.request, "invocation", None) is not None:
        raise Replaced(plain(sig, self.app))
    if self.request.is_eager:
        return sig.apply().get()
    sig.delay()
    raise Ignore("Replaced by new task")


def add_to_chord(self: Any, sig: Any, lazy: bool = False) -> Any:
    """Add a task to the chord whose header the running task is a member of.

    Args:
        self: the task.
        sig: the signature of the task to add.
        lazy: True leaves it to the caller to send the returned signature.

    Raises:
        ValueError: the running task isn't a member of a chord.
    """
    if not self.request.chord:
        raise ValueError("Current task is not member of any chord")
    if getattr(self.request, "invocation", None) is None:
        return _add_by_backend(self, sig, lazy=lazy)
    from taskq_cloud.bound_task import BoundTask  # few tasks add to their chord
    from taskq_cloud.celery.canvas.native_form import plain
    from taskq_cloud.celery.result import adopt

    run = BoundTask(self.app.native, self.definition, self.request.invocation)
    added = run.add_to_chord(plain(sig, self.app), lazy=lazy)
    return self.app.signature(added.to_dict()) if lazy else adopt(added, self.app)


def _add_by_backend(self: Any, sig: Any, *, lazy: bool) -> Any:
    """Add a task to the chord of a request that was made by hand."""
    request = self.request
    sig.set(group_id=request.group, group_index=request.group_index, chord=request.chord, root_id=request.root_id)
    self.backend.add_to_chord(request.group, sig.freeze())
    return sig if lazy else sig.delay()


def update_state(
    self: Any, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
) -> None:
    """Record a state of a task.

    Args:
        self: the task.
        task_id: the id; None: that of the running call.
        state: the state.
        meta: its data, which is the result while the state lasts.
        kwargs: further arguments of the backend's ``store_result``.

    Raises:
        ValueError: no id is given, and no call of the task runs here.
    """
    from taskq_cloud.celery.backends.base import DisabledBackend  # few tasks record states of their own

    task_id = self.request.id if task_id is None else task_id
    if not task_id and not isinstance(self.backend, DisabledBackend):
        raise ValueError(f"task_id must not be empty. Got {task_id} instead.")
    self.backend.store_result(task_id, meta, state, request=self.request, **kwargs)


def send_event(self: Any, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> Any:
    """Send an event to monitors, as ``app.events`` does.

    Args:
        self: the task.
        type_: the type of the event.
        retry: try again if the connection fails.
        retry_policy: how often, and with which pauses.
        fields: the data of the event.
    """
    request = self.request
    retry_policy = self.app.conf.task_publish_retry_policy if retry_policy is None else retry_policy
    with self.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
        return dispatcher.send(type_, uuid=request.id, retry=retry, retry_policy=retry_policy, **fields)


def before_start(self: Any, task_id: str, args: Any, kwargs: Any) -> None:
    """Called before the task runs; a subclass may do something here."""


def on_success(self: Any, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
    """Called when the task has succeeded; a subclass may do something here."""


def on_retry(self: Any, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
    """Called when the task is to be retried; a subclass may do something here."""


def on_failure(self: Any, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
    """Called when the task has failed; a subclass may do something here."""


def after_return(self: Any, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
    """Called when the task has succeeded or failed; a subclass may do something here."""


def start_strategy(self: Any, app: Any, consumer: Any, **kwargs: Any) -> Any:
    """Make the strategy by which a worker takes the task's messages, as the class ``Strategy`` says."""
    from taskq_cloud.celery.utils.imports import instantiate  # the native worker has its own way

    return instantiate(self.Strategy, self, app, consumer, **kwargs)
