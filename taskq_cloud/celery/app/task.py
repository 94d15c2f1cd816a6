"""The base class of tasks: ``Task``, whose subclasses are the tasks of an application."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, ClassVar

from taskq_cloud.celery import _state
from taskq_cloud.celery.app import further_names, registry, task_calls, task_outcomes
from taskq_cloud.celery.app.annotations import resolve_all
from taskq_cloud.celery.app.context import Context
from taskq_cloud.celery.exceptions import MaxRetriesExceededError, OperationalError
from taskq_cloud.celery.native import running
from taskq_cloud.celery.native.definition import OPTION_ATTRIBUTES, definition_of
from taskq_cloud.celery.native.handlers import HANDLERS, has_handlers, overrides_apply_async
from taskq_cloud.core.model.task_definition import TaskDefinition

__all__ = ("Context", "Task")


class _Bound:
    """A class attribute that is read as a property of the class and of its instances: ``Task.app``."""

    def __get__(self, instance: Any, owner: Any) -> Any:
        return owner._get_app()


class Task:
    """A task. Applications make subclasses of functions; a subclass with a ``run`` method is a task, too.

    Attributes have Celery's names and meanings, and can be set on the class, by a decorator's options, by the setting
    ``task_annotations``, or on the task itself.
    """

    __trace__: ClassVar[Any] = None
    __v2_compat__ = False
    __bound__ = False
    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError = OperationalError
    Strategy = "taskq_cloud.celery.worker.strategy:default"
    Request = "taskq_cloud.celery.worker.request:Request"

    _app: ClassVar[Any] = None
    _backend: Any = None
    _default_request: Context | None = None
    _exec_options: dict[str, Any] | None = None
    _native_arguments: ClassVar[dict[str, Any]] = {}
    _from_settings: ClassVar[frozenset[str]] = frozenset()
    _dump_pydantic_arguments: Any = None
    name: Any = None
    typing: bool | None = None
    max_retries: int | None = 3
    default_retry_delay: Any = 3 * 60
    rate_limit: Any = None
    ignore_result: Any = None
    trail = True
    send_events = True
    store_errors_even_if_ignored: bool | None = None
    serializer: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    track_started: bool | None = None
    acks_late: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    acks_on_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    throws: Any = ()
    expires: Any = None
    priority: int | None = None
    resultrepr_maxsize = 1024
    request_stack: Any = None
    abstract = True
    from_config: ClassVar[tuple[tuple[str, str], ...]] = (
        ("serializer", "task_serializer"),
        ("rate_limit", "task_default_rate_limit"),
        ("priority", "task_default_priority"),
        ("track_started", "task_track_started"),
        ("acks_late", "task_acks_late"),
        ("acks_on_failure_or_timeout", "task_acks_on_failure_or_timeout"),
        ("reject_on_worker_lost", "task_reject_on_worker_lost"),
        ("ignore_result", "task_ignore_result"),
        ("store_eager_result", "task_store_eager_result"),
        ("store_errors_even_if_ignored", "task_store_errors_even_if_ignored"),
    )
    app: Any = _Bound()

    def __repr__(self) -> str:
        return task_calls.shown(self)

    def __reduce__(self) -> tuple[Any, ...]:
        module = type(self).__module__
        return registry._unpickle_task_v2, (self.name, module if module in sys.modules else None), None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in OPTION_ATTRIBUTES:
            vars(self).pop("_definition", None)
            vars(self).pop("_exec_options", None)
        elif name in HANDLERS:
            self._get_app().has_handlers = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task here and now, as a function; the body of a run that ``super().__call__`` asks for, as it is."""
        if task_calls.is_body_of_run(self):
            return self.run(*args, **kwargs)
        _state._task_stack.push(self)
        self.push_request(args=args, kwargs=kwargs)
        try:
            return self.run(*args, **kwargs)
        finally:
            self.pop_request()
            _state._task_stack.pop()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body of the task, which a subclass writes."""
        raise NotImplementedError("Tasks must define the run method.")

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Make the class one of an application: unset attributes get the settings' values, then the annotations'."""
        # A base class that is bound, as another application's may be, doesn't make its subclasses so.
        was_bound, cls.__bound__ = bool(vars(cls).get("__bound__")), True
        cls._app = app
        cls._exec_options = None
        if cls.typing is None:
            cls.typing = app.strict_typing
        unset = [(name, setting) for name, setting in cls.from_config if getattr(cls, name, None) is None]
        cls._from_settings = vars(cls).get("_from_settings", frozenset()) | {name for name, _ in unset}
        for name, setting in unset:
            setattr(cls, name, app.conf[setting])
        both = True if cls.acks_on_failure_or_timeout is None else cls.acks_on_failure_or_timeout
        for name in ("acks_on_failure", "acks_on_timeout"):
            if getattr(cls, name) is None:
                cls._from_settings |= {name}
                setattr(cls, name, both)
        app.has_handlers = app.has_handlers or has_handlers(cls) or overrides_apply_async(cls)
        if not was_bound:
            cls.annotate()
            cls.request_stack = _state.LocalStack(f"taskq_celery_requests_of_{cls.name}")
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the class is bound to an application; a subclass may do something here."""

    @classmethod
    def _get_app(cls) -> Any:
        if cls._app is None:
            cls._app = _state.get_current_app()
        if not cls.__bound__:
            cls.bind(cls._app)
        return cls._app

    @classmethod
    def annotate(cls) -> None:
        """Set the attributes that the setting ``task_annotations`` has for the task."""
        for found in resolve_all(cls.app.annotations, cls):
            for name, value in found.items():
                if name.startswith("@"):
                    cls.add_around(name[1:], value)
                else:
                    setattr(cls, name, value)

    @classmethod
    def add_around(cls, attr: str, around: Any) -> None:
        """Replace a method by the one that ``around`` makes of it."""
        method = getattr(cls, attr)
        original = getattr(method, "__wrapped__", None) or method
        wrapped = around(original)
        wrapped.__wrapped__ = original
        setattr(cls, attr, wrapped)

    @property
    def backend(self) -> Any:
        """The result backend: the task's own, or the application's."""
        return self.app.backend if self._backend is None else self._backend

    @backend.setter
    def backend(self, value: Any) -> None:
        self._backend = value

    @property
    def definition(self) -> TaskDefinition:
        """The task as the native runner knows it."""
        known: TaskDefinition | None = vars(self).get("_definition")
        if known is None:
            known = vars(self)["_definition"] = definition_of(self)
        return known

    def check_arguments(self, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
        """Check arguments against the task's parameters; raises ``TypeError``."""
        task_calls.check_arguments(self, args, kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task with these arguments: ``apply_async`` without options."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> Any:
        """Call the task: send a message. The options are those of ``app.send_task``.

        Raises:
            TypeError: the arguments don't fit the task.
            ValueError: the task's soft time limit is longer than its hard one.
            OperationalError: the broker did not accept the message.
        """
        given = {"link": link, "link_error": link_error, "producer": producer, **options}
        return task_calls.apply_async(self, args, kwargs, task_id, shadow, given)

    def apply(
        self,
        args: Any = None,
        kwargs: Any = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: Any = None,
        loglevel: Any = None,
        headers: Any = None,
        **options: Any,
    ) -> Any:
        """Run the task in this process, with its retries, and return an ``EagerResult``; nothing is sent or stored.

        Args:
            args: the positional arguments.
            kwargs: the keyword arguments.
            link: signatures to run with the value.
            link_error: signatures to run if the task fails.
            task_id: the task's id; None: a new one.
            retries: the number of attempts before this one.
            throw: raise the task's exception; None: as the setting ``task_eager_propagates`` says.
            logfile: shown by the request.
            loglevel: shown by the request.
            headers: the caller's own headers.
            options: the other options of a call.
        """
        given = {"link": link, "link_error": link_error, "retries": retries, "headers": headers, **options}
        given |= {"logfile": logfile, "loglevel": loglevel}
        return task_calls.apply(self, args, kwargs, task_id, throw, given)

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """Another name for a call, in logs and monitors; a subclass may return one."""

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:
        """Return the result of an earlier call, by the task's id."""
        return self.app.AsyncResult(task_id, backend=self.backend, task_name=self.name, **kwargs)

    def _get_exec_options(self) -> dict[str, Any]:
        if self._exec_options is None:
            self._exec_options = task_calls.own_options(self)
        return self._exec_options

    # -- as part of a workflow

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Any:
        """Make a signature: see ``taskq_cloud.celery.signature``."""
        starkwargs.setdefault("app", self.app)
        from taskq_cloud.celery import canvas  # few processes make workflows

        return canvas.signature(self, args, *starargs, **starkwargs)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Any:
        """Make a signature with these arguments."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Any:
        """Make an immutable signature with these arguments."""
        return self.signature(args, kwargs, immutable=True)

    def chunks(self, it: Iterable[Any], n: int) -> Any:
        """Make a workflow that calls the task for ``n`` tuples of arguments with each message."""
        from taskq_cloud.celery import canvas  # few processes make workflows

        return canvas.chunks(self.s(), it, n, app=self.app)

    def map(self, it: Iterable[Any]) -> Any:
        """Make a signature that calls the task for each item, one after the other."""
        from taskq_cloud.celery import canvas  # few processes make workflows

        return canvas.xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> Any:
        """Make a signature that calls the task for each tuple of arguments, one after the other."""
        from taskq_cloud.celery import canvas  # few processes make workflows

        return canvas.xstarmap(self.s(), it, app=self.app)

    # -- the running call

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Put a request on top of the task's requests: this one, with changes."""
        self.request_stack.push(Context(*args, **{**vars(self.request), **kwargs}))

    def pop_request(self) -> None:
        """Remove the request that ``push_request`` has put on top."""
        self.request_stack.pop()

    def _get_request(self) -> Any:
        pushed = None if self.request_stack is None else self.request_stack.top
        request = pushed or running.running_request(self)
        if request is None and self._default_request is None:
            self._default_request = Context()
        return request or self._default_request

    @property
    def request(self) -> Any:
        """The request of the running call."""
        return self._get_request()

    add_trail = task_outcomes.add_trail
    retry = task_outcomes.retry
    signature_from_request = task_outcomes.signature_from_request
    subtask_from_request = task_outcomes.signature_from_request
    replace = task_outcomes.replace
    on_replace = task_outcomes.on_replace
    add_to_chord = task_outcomes.add_to_chord
    update_state = task_outcomes.update_state
    send_event = task_outcomes.send_event
    before_start = task_outcomes.before_start
    on_success = task_outcomes.on_success
    on_retry = task_outcomes.on_retry
    on_failure = task_outcomes.on_failure
    after_return = task_outcomes.after_return
    start_strategy = task_outcomes.start_strategy

    @property
    def __name__(self) -> str:
        """The name of the task's function, or of its class."""
        return str(type(self).__name__)


BaseTask = Task
__getattr__ = further_names.lazily(__name__, further_names.OF_TASK)
