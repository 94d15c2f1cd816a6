"""Tasks as objects: their attributes, their classes, and calls as functions."""

from __future__ import annotations

import pickle
import typing
import warnings
from typing import Any

from tests.celery.scenarios.library import Library

_ATTRIBUTES = [
    "name",
    "max_retries",
    "default_retry_delay",
    "rate_limit",
    "ignore_result",
    "trail",
    "send_events",
    "store_errors_even_if_ignored",
    "serializer",
    "time_limit",
    "soft_time_limit",
    "track_started",
    "acks_late",
    "acks_on_failure_or_timeout",
    "acks_on_failure",
    "acks_on_timeout",
    "reject_on_worker_lost",
    "throws",
    "expires",
    "priority",
    "resultrepr_maxsize",
    "typing",
    "abstract",
    "store_eager_result",
    "__bound__",
    "__v2_compat__",
    "__trace__",
]


def _add(app: Any, **options: Any) -> Any:
    @app.task(shared=False, **options)
    def add(x, y):
        return x + y

    return add


def representations(lib: Library) -> Any:
    app = lib.app()
    task = _add(app)
    return repr(task), repr(app.Task), repr(lib.Task), repr(type(task)), str(task), repr(app.Task())


def attributes_by_default(lib: Library) -> Any:
    task = _add(lib.app())
    return {name: getattr(task, name) for name in _ATTRIBUTES}


def attributes_of_base_class(lib: Library) -> Any:
    return {name: getattr(lib.Task, name, "missing") for name in _ATTRIBUTES}


def attributes_of_base_class_of_application(lib: Library) -> Any:
    return {name: getattr(lib.app().Task, name, "missing") for name in _ATTRIBUTES}


def attributes_from_settings(lib: Library) -> Any:
    app = lib.app(
        task_serializer="pickle",
        task_default_rate_limit="3/m",
        task_default_priority=4,
        task_track_started=True,
        task_acks_late=True,
        task_acks_on_failure_or_timeout=False,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_store_eager_result=True,
        task_store_errors_even_if_ignored=True,
    )
    task = _add(app)
    return {name: getattr(task, name) for name in _ATTRIBUTES}


def attributes_from_decorator(lib: Library) -> Any:
    task = _add(lib.app(), max_retries=7, rate_limit="3/s", queue="other", custom=[1], acks_late=True, throws=KeyError)
    return task.max_retries, task.rate_limit, task.queue, task.custom, task.acks_late, task.throws


def options_of_calls(lib: Library) -> Any:
    task = _add(lib.app(), queue="q", time_limit=3, soft_time_limit=2, compression="zlib", expires=9, priority=3)
    return task._get_exec_options()


def acknowledgements_by_kind_of_failure(lib: Library) -> Any:
    app = lib.app()

    def flags(**options: Any) -> Any:
        @app.task(shared=False, name=repr(options), **options)
        def task():
            pass

        return task.acks_on_failure, task.acks_on_timeout, task.acks_on_failure_or_timeout

    return (
        flags(),
        flags(acks_on_failure_or_timeout=False),
        flags(acks_on_failure=False),
        flags(acks_on_timeout=False),
        flags(acks_on_failure_or_timeout=False, acks_on_timeout=True),
    )


def called_as_function(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def show(self, *args, **kwargs):
        request = self.request
        return request.args, request.kwargs, request.called_directly, request.id, lib.current_task.name, request.retries

    return show(1, a=2), lib.raised(lambda: show.run(3)), lib.current_task._get_current_object()


def called_as_function_within_another(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def inner(self, x):
        return self.request.args, lib.current_task.name

    @app.task(bind=True, shared=False)
    def outer(self, x):
        found = inner(x + 1)
        return self.request.args, found, lib.current_task.name, app.current_worker_task

    return outer(1), outer.apply((1,)).get()[:3]


def current_task_of_worker(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False)
    def called():
        return app.current_worker_task.name, app.current_task.name

    @app.task(shared=False)
    def outer():
        return called()

    return outer.apply().get()


def wrong_arguments(lib: Library) -> Any:
    task = _add(lib.app())
    return [
        lib.raised(lambda: task.apply_async((1,))),
        lib.raised(lambda: task.delay(1, 2, 3)),
        lib.raised(lambda: task.delay(1, z=3)),
        lib.raised(lambda: task.delay(1, 2, y=3)),
        lib.raised(lambda: task(1)),
        lib.raised(lambda: task.apply_async((1,), {"y": 2, "k": 3})),
        task.apply((1,)).state,
    ]


def arguments_are_unchecked_without_typing(lib: Library) -> Any:
    app = lib.app(strict_typing=False)
    task, other = _add(app), _add(lib.app(), typing=False)
    return task.typing, task.delay(1, 2, 3).state, other.typing, other.delay(1).state


def arguments_that_are_not_sequences(lib: Library) -> Any:
    app = lib.app()
    return [
        lib.raised(lambda: app.send_task("t", "abc")),
        lib.raised(lambda: app.send_task("t", (), "abc")),
        lib.raised(lambda: app.send_task("t", {1}, {})),
        app.send_task("t", None, None).state,
        app.send_task("t", [1], {}).state,
    ]


def generator_as_argument(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False)
    def total(values):
        return sum(values)

    return total.apply(args=({1, 2},)).get(), total.apply(([1, 2],)).get()


def arguments_of_varying_kinds(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False)
    def many(a, b=2, *rest, key=3, **others):
        return a, b, rest, key, others

    @app.task(shared=False, bind=True)
    def bound(self, a, *, key):
        return a, key

    return (
        many.apply((1, 5, 6), {"key": 9, "z": 0}).get(),
        lib.raised(many.delay),
        lib.raised(lambda: bound.delay(1)),
        lib.raised(lambda: bound.delay(1, 2, key=3)),
        bound.delay(1, key=3).state,
    )


def time_limits_that_contradict_each_other(lib: Library) -> Any:
    task = _add(lib.app(), time_limit=3, soft_time_limit=5)
    return lib.raised(lambda: task.delay(1, 2)), task.apply((1, 2)).get()


def class_based_task(lib: Library) -> Any:
    app = lib.app()
    seen = []

    class Multiply(app.Task):
        name = "proj.multiply"
        factor = 3

        def run(self, x):
            self.factor += 1
            return x * self.factor

        def before_start(self, *args):
            seen.append(("before", *args[1:]))

        def on_success(self, *args):
            seen.append(("success", args[0], *args[2:]))

        def after_return(self, *args):
            seen.append(("after", *args[:2], *args[3:]))

    task = app.register_task(Multiply())
    values = [task.apply((4,)).get(), task.apply((4,)).get(), task(1)]
    return task.name, values, seen, repr(task), app.tasks["proj.multiply"] is task, task.factor


def class_without_name(lib: Library) -> Any:
    app = lib.app()

    class Nameless(app.Task):
        def run(self):
            return self.name

    task = app.register_task(Nameless)
    return task.name.rpartition(".")[2], task(), app.register_task(task) is task, type(task).__name__


def class_without_run(lib: Library) -> Any:
    class Empty(lib.Task):
        name = "empty"

    return lib.raised(lib.app().register_task(Empty())), lib.raised(lambda: Empty().run())


def class_instance_registered(lib: Library) -> Any:
    app = lib.app()

    class Plain(app.Task):
        name = "plain"

        def run(self):
            return 1

    task = app.register_task(Plain())
    return task.name, task(), app.tasks["plain"] is task


def abstract_base_classes(lib: Library) -> Any:
    app = lib.app()

    class Base(app.Task):
        abstract = True
        shared_by_all = "yes"

        def helper(self):
            return self.name

    class Derived(Base):
        abstract = True
        rate_limit = "1/s"

    @app.task(base=Derived, bind=True, shared=False)
    def task(self):
        return self.helper(), self.shared_by_all

    return task(), task.rate_limit, [kind.__name__ for kind in type(task).__mro__][:4], isinstance(task, lib.Task)


def call_method_overridden(lib: Library) -> Any:
    app = lib.app()

    class Wrapping(app.Task):
        def __call__(self, *args, **kwargs):
            return "wrapped", super().__call__(*args, **kwargs), self.request.called_directly

    @app.task(base=Wrapping, shared=False, bind=True)
    def task(self, x):
        return x, self.request.called_directly, self.request.args

    return task(1), task.apply((2,)).get(), task.apply_async, task.delay is not None


def call_method_overridden_without_super(lib: Library) -> Any:
    app = lib.app()

    class Wrapping(app.Task):
        def __call__(self, *args, **kwargs):
            return "wrapped", self.run(*args, **kwargs)

    @app.task(base=Wrapping, shared=False)
    def task(x):
        return x

    return task(1), task.apply((2,)).get()


def pickled_task(lib: Library) -> Any:
    app = lib.app()
    task = _add(app, name="proj.add")
    app.set_current()
    return pickle.loads(pickle.dumps(task)) is app.tasks["proj.add"], pickle.loads(pickle.dumps(task))(1, 2)


def pickled_request(lib: Library) -> Any:
    context = lib.module("app.task").Context({"id": "1", "args": (1,), "custom": 3})
    copied = pickle.loads(pickle.dumps(context))
    return copied.id, copied.args, copied.custom, type(copied).__name__


def annotations_by_name(lib: Library) -> Any:
    app = lib.app()
    app.conf.task_annotations = {
        "*": {"rate_limit": "1/s"},
        "proj.task": {"max_retries": 9, "@run": lambda run: lambda *args: ("around", args)},
    }

    @app.task(shared=False, name="proj.task")
    def task(x):
        return x

    return task.rate_limit, task.max_retries, task(3)[0], task.run.__wrapped__(4)


def annotations_as_list(lib: Library) -> Any:
    class Annotate:
        def annotate(self, task):
            return {"rate_limit": "5/s"} if task.name.startswith("slow") else None

        def annotate_any(self):
            return {"custom": 1}

    app = lib.app()
    app.conf.task_annotations = (Annotate(), {"fast": {"rate_limit": "100/s"}})
    slow, fast = _add(app, name="slow.add"), _add(app, name="fast")
    return slow.rate_limit, fast.rate_limit, slow.custom, fast.custom


def annotations_for_every_task_only(lib: Library) -> Any:
    app = lib.app()
    app.conf.task_annotations = {"*": {"max_retries": 1}}
    return _add(app).max_retries, _add(app, name="z", max_retries=5).max_retries, app.annotations


def annotation_objects(lib: Library) -> Any:
    module = lib.module("app.annotations")
    task = _add(lib.app(), name="proj.add")
    mapped = module.MapAnnotation({"proj.add": {"a": 1}, "*": {"b": 2}})
    empty = module.MapAnnotation({})
    prepared = module.prepare({"x": {"y": 1}})
    return (
        mapped.annotate(task),
        mapped.annotate_any(),
        empty.annotate(task),
        empty.annotate_any(),
        [type(each).__name__ for each in prepared],
        module.prepare(()),
        module.prepare(None),
        [type(each).__name__ for each in module.prepare([mapped, {"a": {}}])],
        list(module.resolve_all([mapped, empty], task)),
    )


def around_method(lib: Library) -> Any:
    task = _add(lib.app())
    task.__class__.add_around("run", lambda run: lambda *args: ("once", run(*args)))
    first = task(1, 2)
    task.__class__.add_around("run", lambda run: lambda *args: ("twice", run(*args)))
    return first, task(1, 2)


def duplicate_names(lib: Library) -> Any:
    app = lib.app()

    @app.task(name="dup", shared=False)
    def first():
        return 1

    first.name
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        @app.task(name="dup", shared=False)
        def second():
            return 2

        return first(), second(), [each.category.__name__ for each in caught]


def same_function_declared_twice(lib: Library) -> Any:
    app = lib.app()

    def function():
        return 1

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = app.task(name="f")(function)
        second = app.task(name="f")(function)
        return first() == second(), [each.category.__name__ for each in caught]


def wrong_use_of_decorator(lib: Library) -> Any:
    app = lib.app()
    return lib.raised(lambda: app.task(1)), lib.raised(lambda: app.task(lambda: 1, lambda: 2))


def decorator_with_filter(lib: Library) -> Any:
    app = lib.app()

    @app.task(filter=lambda task: ("filtered", task.name), shared=False, name="n")
    def task():
        pass

    return task


def decorator_that_is_not_lazy(lib: Library) -> Any:
    app = lib.app()

    @app.task(lazy=False, shared=False)
    def task():
        pass

    return type(task).__mro__[1].__name__, app.finalized, list(app._tasks)


def lazy_task_evaluates_when_used(lib: Library) -> Any:
    app = lib.app()
    seen = []

    @app.task(shared=False)
    def task():
        pass

    before = task.__evaluated__()
    task.__then__(lambda *args: seen.append(args), 1)
    task.name
    task.__then__(lambda *args: seen.append(args), 2)
    return before, task.__evaluated__(), [len(each) for each in seen], app.finalized


def metadata_of_function(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False)
    def documented(x: int) -> str:
        """Say a number."""
        return str(x)

    evaluated = documented._get_current_object() if hasattr(documented, "_get_current_object") else documented
    return (
        typing.get_type_hints(documented),
        evaluated.__doc__,
        documented.__wrapped__(3),
        documented.__name__,
        documented.__module__ == __name__,
        documented.__qualname__,
        evaluated.__annotations__,
    )


def documentation_of_lazy_task(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False)
    def documented():
        """Do something."""

    return documented.__doc__, documented.__name__, documented.__doc__


def type_hints_stay_readable(lib: Library) -> Any:
    import inspect

    app = lib.app()

    @app.task(shared=False, bind=True)
    def task(self, a, b=1, *, c):
        pass

    return str(inspect.signature(task.run)), inspect.isfunction(task.__wrapped__.__func__)


def async_result_of_task(lib: Library) -> Any:
    app = lib.app()
    task = _add(app)
    result = task.AsyncResult("some-id")
    return type(result).__name__, result.id, result.state, result.app is app, result.backend is app.backend


def own_backend(lib: Library) -> Any:
    app = lib.app()
    task = _add(app)
    same, own = task.backend is app.backend, object()
    task.backend = own
    return same, task.backend is own, app.backend is own


def update_state_by_id(lib: Library) -> Any:
    app = lib.app()
    task = _add(app)
    task.update_state("t1", "PROGRESS", {"done": 1})
    result = app.AsyncResult("t1")
    return result.state, result.info, result.result, result.ready()


def update_state_of_request(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def task(self):
        self.update_state(state="PROGRESS", meta={"at": 3})
        return self.AsyncResult(self.request.id).info

    return task.apply(task_id="t2").get(), app.AsyncResult("t2").state


def update_state_passes_arguments(lib: Library) -> Any:
    from unittest.mock import Mock

    task = _add(lib.app())
    task.backend = Mock(name="backend")
    task.update_state("1", "S", {"a": 1}, custom=2)
    call = task.backend.store_result.call_args
    return call.args, sorted(call.kwargs), call.kwargs["custom"]


def signature_shortcuts(lib: Library) -> Any:
    app = lib.app()
    task = _add(app, name="proj.add")
    return (
        task.s(1, y=2),
        task.si(1, 2),
        task.signature((1, 2), countdown=3),
        task.subtask((1,), {"y": 2}, immutable=True),
        dict(task.s(1)),
        task.map([1, 2]),
        task.starmap([(1, 2)]),
        task.chunks([(1, 2), (3, 4), (5, 6)], 2),
        task.s().app is app,
        task.s().type is app.tasks["proj.add"],
    )


def result_of_a_call(lib: Library) -> Any:
    app = lib.app()
    task = _add(app, name="proj.add")
    result = task.delay(1, 2)
    return (
        type(result).__name__,
        repr(result),
        result.state,
        isinstance(result, lib.AsyncResult if hasattr(lib, "AsyncResult") else lib.module("result").AsyncResult),
        result.ignored,
        task.apply_async((1, 2), ignore_result=True).ignored,
        task.apply_async((1, 2), task_id="mine").id,
        result.parent,
        result.children,
    )


def shadow_name(lib: Library) -> Any:
    app = lib.app()
    seen = []

    class Shadowed(app.Task):
        def shadow_name(self, args, kwargs, options):
            seen.append((args, kwargs, options.get("countdown")))
            return f"{self.name}-shadow"

    @app.task(base=Shadowed, shared=False)
    def task(x):
        return x

    task.apply_async((1,), {}, countdown=3)
    return seen


def task_on_bound(lib: Library) -> Any:
    app = lib.app()
    seen = []

    class Watching(app.Task):
        @classmethod
        def on_bound(cls, app):
            seen.append((cls.__name__, app.main))

    @app.task(base=Watching, shared=False)
    def task():
        pass

    app.finalize()
    return seen[-1], bool(seen)


def lambda_as_task(lib: Library) -> Any:
    app = lib.app()
    return lib.raised(lambda: app.task(name="double", shared=False)(lambda x: x * 2).name, text=False)


def built_in_function_as_task(lib: Library) -> Any:
    app = lib.app()
    return lib.raised(lambda: app.task(name="total", shared=False)(sum)([1, 2]), text=False)


def events_of_task(lib: Library) -> Any:
    from unittest.mock import MagicMock

    app = lib.app()
    task = _add(app)
    app.events = MagicMock(name="events")
    task.push_request(id="1", hostname="h")
    task.send_event("task-custom", value=3)
    task.pop_request()
    dispatcher = app.events.default_dispatcher
    sent = dispatcher.return_value.__enter__.return_value.send.call_args
    return dispatcher.call_args.kwargs, sent.args, sent.kwargs
