"""Applications: their configuration, their parts, and how they are pickled, closed and made the current one."""

from __future__ import annotations

import copy
import os
import pickle
import re
import sys
import threading
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from unittest.mock import Mock

from tests.celery.scenarios.library import Library


@contextmanager
def _module(name: str, **attributes: Any) -> Any:
    made = ModuleType(name)
    vars(made).update(attributes)
    sys.modules[name] = made
    try:
        yield made
    finally:
        del sys.modules[name]


@contextmanager
def _environment(**variables: str) -> Any:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def representations(lib: Library) -> Any:
    return repr(lib.bare_app("proj")), repr(lib.bare_app()), str(lib.bare_app("x"))


def settings_by_attribute_item_and_update(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.conf.task_serializer = "yaml"
    app.conf["result_expires"] = 5
    app.conf.update(timezone="Europe/Berlin")
    return (
        app.conf.task_serializer,
        app.conf.result_expires,
        str(app.timezone),
        app.conf.get("zzz", "d"),
        "task_serializer" in app.conf,
        "nope" in app.conf,
        app.conf.CELERY_TASK_SERIALIZER,
    )


def settings_by_old_names(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.conf.CELERY_TASK_RESULT_EXPIRES = 3
    app.conf.CELERY_DEFAULT_QUEUE = "q"
    return app.conf.result_expires, app.conf.CELERY_TASK_RESULT_EXPIRES, app.conf.task_default_queue


def settings_that_are_missing(lib: Library) -> Any:
    return (
        lib.raised(lambda: lib.bare_app("x").conf.nope),
        lib.raised(lambda: lib.bare_app("x").conf["nope"]),
        lib.bare_app("x").conf.get("nope"),
        hasattr(lib.bare_app("x").conf, "nope"),
    )


def settings_of_constructor(lib: Library) -> Any:
    app = lib.bare_app(
        "x", broker="memory://", backend="cache+memory://", include=["a"], task_default_queue="q", changes=None
    )
    other = lib.bare_app("y", changes={"task_default_queue": "z"}, namespace=None)
    return (
        app.conf.broker_url,
        app.conf.result_backend,
        app.conf.include,
        app.conf.task_default_queue,
        other.conf.task_default_queue,
    )


def settings_set_before_configuration_win(lib: Library) -> Any:
    class Config:
        task_default_queue = "from-object"
        broker_url = "memory://from-object"

    app = lib.bare_app("x", broker="memory://from-constructor")
    app.conf.task_default_queue = "set-before"
    app.config_from_object(Config)
    return app.conf.task_default_queue, app.conf.broker_url, app.configured


def configuration_from_objects(lib: Library) -> Any:
    class Config:
        task_default_queue = "dq"
        CELERY_X = 1

    first, second, third = lib.bare_app("a"), lib.bare_app("b"), lib.bare_app("c")
    first.config_from_object(Config)
    first.conf.broker_url = "memory://"
    second.config_from_object(Config())
    third.config_from_object({"task_default_queue": "from-dict"})
    return (
        first.conf.task_default_queue,
        first.conf["task_default_queue"],
        second.conf.task_default_queue,
        third.conf.task_default_queue,
    )


def configuration_from_modules(lib: Library) -> Any:
    with _module("scenario_config", task_default_queue="m", Nested=type("N", (), {"task_default_queue": "n"})):
        first, second, third = lib.bare_app("a"), lib.bare_app("b"), lib.bare_app("c")
        first.config_from_object("scenario_config")
        second.config_from_object("scenario_config:Nested")
        third.config_from_object("scenario_config.Nested")
        return first.conf.task_default_queue, second.conf.task_default_queue, third.conf.task_default_queue


def configuration_from_environment(lib: Library) -> Any:
    with _module("scenario_config", task_default_queue="m"), _environment(SCENARIO_CONFIG="scenario_config"):
        app = lib.bare_app("a")
        app.config_from_envvar("SCENARIO_CONFIG", force=True)
        return app.conf.task_default_queue


def configuration_from_environment_that_is_unset(lib: Library) -> Any:
    app = lib.bare_app("x")
    return (
        lib.raised(lambda: app.config_from_envvar("NOPE_ENV"), text=False),
        app.config_from_envvar("NOPE_ENV", silent=True),
    )


def configuration_from_command_line(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.config_from_cmdline(["task.default_queue=cli", "worker.concurrency=13", "result.expires=99"], "")
    app.config_from_cmdline(["worker_prefetch_multiplier=3"], "")
    return app.conf.task_default_queue, app.conf.worker_concurrency, app.conf.result_expires


def configuration_from_missing_module(lib: Library) -> Any:
    app, silent = lib.bare_app("x"), lib.bare_app("y")
    app.config_from_object("no.such.module")
    silent.config_from_object("no.such.module", silent=True)
    return lib.raised(lambda: app.conf.timezone), silent.conf.timezone


def configuration_that_is_forced(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.config_from_object({"task_default_queue": "one"}, force=True)
    first = app.conf.task_default_queue
    app.config_from_object({"task_default_queue": "two"})
    return first, app.conf.task_default_queue


def configuration_with_namespace(lib: Library) -> Any:
    class Config:
        CELERY_TASK_DEFAULT_QUEUE = "abc"
        CELERY_BROKER_URL = "memory://"
        CELERY_BEAT_SCHEDULE = {"x": 1}
        OTHER = 1

    app, given = lib.bare_app("x"), lib.bare_app("x", namespace="CELERY", config_source=Config)
    app.config_from_object(Config, namespace="CELERY")
    return app.conf.task_default_queue, app.conf.broker_url, app.conf.beat_schedule, given.conf.task_default_queue


def configuration_with_old_names(lib: Library) -> Any:
    class Old:
        CELERY_DEFAULT_QUEUE = "abc"
        CELERYD_CONCURRENCY = 3
        BROKER_URL = "memory://"
        CELERY_RESULT_BACKEND = "cache+memory://"

    app = lib.bare_app("x")
    app.config_from_object(Old)
    conf = app.conf
    return conf.task_default_queue, conf.worker_concurrency, conf.broker_url, conf.result_backend


def configuration_that_mixes_old_and_new_names(lib: Library) -> Any:
    class Mixed:
        CELERY_DEFAULT_QUEUE = "abc"
        task_serializer = "json"

    app = lib.bare_app("x")
    app.config_from_object(Mixed)
    return lib.raised(lambda: app.conf.task_default_queue, text=False)


def defaults_that_are_added(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.add_defaults({"foo": 1, "task_default_queue": "dq"})
    app.add_defaults(lambda: {"bar": 2})
    before = app.conf.foo, app.conf.bar, app.conf.task_default_queue
    app.add_defaults({"baz": 3})
    app.add_defaults(lambda: {"qux": 4})
    return before, app.conf.baz, app.conf.qux


def defaults_count_less_than_configuration(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.config_from_object({"task_default_queue": "configured"})
    app.add_defaults({"task_default_queue": "default"})
    return app.conf.task_default_queue


def settings_with_passwords_are_censored(lib: Library) -> Any:
    app = lib.bare_app("x", broker="amqp://user:secret@host:1//")
    app.conf.aws_secret = "hidden"
    app.conf.security_key = "hidden"
    text = app.conf.humanize(with_defaults=False, censored=True)
    return "secret@" in text, "hidden" in text, "broker_url" in text


def settings_as_table(lib: Library) -> Any:
    app = lib.bare_app("x", task_default_queue="q")
    table = app.conf.table(with_defaults=False, censored=True)
    return table["task_default_queue"], "task_serializer" in table, len(app.conf.table(with_defaults=True)) > 100


def signals_of_configuration(lib: Library) -> Any:
    seen: list[Any] = []
    app = lib.bare_app("x")
    app.on_configure.connect(lambda **_: seen.append("configure"), weak=False)
    app.on_after_configure.connect(
        lambda sender, source, **_: seen.append(("after", sender is app, source is app.conf)), weak=False
    )
    app.on_after_finalize.connect(lambda sender, **_: seen.append(("finalize", sender is app)), weak=False)
    app.conf.timezone
    app.conf.timezone
    app.finalize()
    app.finalize()
    return seen


def hooks_of_subclass(lib: Library) -> Any:
    seen: list[Any] = []

    class Application(lib.Celery):
        def on_configure(self):
            seen.append("configure")

        def on_init(self):
            seen.append("init")

        def prepare_config(self, c):
            seen.append("prepare")
            return super().prepare_config(c)

    app = Application("x", set_as_current=False)
    app.conf.timezone
    return seen, repr(app)


def subclass_with_own_classes(lib: Library) -> Any:
    task_base = type("CustomTask", (lib.Task,), {"abstract": True, "custom": 1})

    class Application(lib.Celery):
        task_cls = task_base

    app = Application("x", set_as_current=False)

    @app.task(shared=False)
    def task():
        pass

    return task.custom, app.Task.__name__, task_base in app.Task.__mro__, app.Task.abstract


def classes_by_path(lib: Library) -> Any:
    app = lib.bare_app("x", task_cls=f"{lib.package}:Task", loader="app", log=f"{lib.package}.app.log:Logging")
    return type(app.loader).__name__, type(app.log).__name__, app.Task.__mro__[1].__name__


def registry_of_constructor(lib: Library) -> Any:
    registry = lib.module("app.registry").TaskRegistry()
    app = lib.bare_app("x", tasks=registry)
    return app._tasks is registry, "celery.chain" in app.tasks


def results_are_classes_of_the_application(lib: Library) -> Any:
    app = lib.bare_app("x")
    kind = app.AsyncResult
    return (
        kind.__name__,
        kind.app is app,
        app.AsyncResult is kind,
        kind.__mro__[1].__name__,
        app.GroupResult.__name__,
        app.ResultSet.__name__,
        app.ResultSet.app is app,
    )


def subclass_with_self(lib: Library) -> Any:
    app = lib.bare_app("x")

    class Base:
        """Documented."""

        attribute = None

        def __init__(self, *args):
            self.args = args

        def __reduce_args__(self):
            return self.args

    made = app.subclass_with_self(Base, name="Made", attribute="attribute", extra=3)
    kept = app.subclass_with_self(Base, keep_reduce=True)
    by_path = app.subclass_with_self(f"{lib.package}.result:AsyncResult", reverse="AsyncResult")
    return (
        made.__name__,
        made.attribute is app,
        made.extra,
        made.__doc__,
        made.__module__ == __name__,
        made(1).__reduce__()[1],
        "__reduce__" in vars(kept),
        kept.app is app,
        by_path.__name__,
    )


def pickled(lib: Library) -> Any:
    app = lib.bare_app("pk", broker="memory://", strict_typing=True)
    app.conf.task_default_queue = "qq"
    copied = pickle.loads(pickle.dumps(app))
    return copied.main, copied.conf.task_default_queue, copied.conf.broker_url, type(copied).__name__, copied is app


def pickled_before_configuration(lib: Library) -> Any:
    app = lib.bare_app("pk", broker="memory://", task_default_queue="x")
    copied = pickle.loads(pickle.dumps(app))
    return copied.main, copied.conf.broker_url, copied.conf.task_default_queue, app.configured


def pickled_with_configuration_source(lib: Library) -> Any:
    with _module("scenario_config", task_default_queue="m"):
        app = lib.bare_app("pk")
        app.config_from_object("scenario_config")
        app.conf.task_serializer = "json"
        copied = pickle.loads(pickle.dumps(app))
        return copied.conf.task_default_queue, copied.conf.task_serializer


def pickled_results(lib: Library) -> Any:
    app = lib.app("pk")
    app.set_current()
    result = pickle.loads(pickle.dumps(app.AsyncResult("an-id")))
    group = pickle.loads(pickle.dumps(app.GroupResult("gid", [app.AsyncResult("a"), app.AsyncResult("b")])))
    return result.id, type(result).__name__, result == app.AsyncResult("an-id"), group.id, [each.id for each in group]


def keys_that_are_pickled(lib: Library) -> Any:
    app = lib.bare_app("pk", broker="memory://")
    keys = app.__reduce_keys__()
    return sorted(keys), keys["main"], keys["changes"]


def copied_configuration(lib: Library) -> Any:
    app = lib.bare_app("x", task_default_queue="q")
    copied = copy.copy(app.conf)
    return copied.task_default_queue, type(copied).__name__


def as_context_manager(lib: Library) -> Any:
    closed = []
    with lib.bare_app("x") as app:
        app.close = lambda: closed.append(1)
        shown = repr(app)
    return shown, closed


def closed(lib: Library) -> Any:
    app = lib.app()
    before = app in lib.module("_state")._get_active_apps()
    app.close()
    app.close()
    return before, app in lib.module("_state")._get_active_apps()


def current_and_default(lib: Library) -> Any:
    state, module = lib.module("_state"), lib.module("app")
    app = lib.bare_app("current")
    app.set_current()
    found = lib.current_app.main, state.get_current_app() is app
    app.set_default()
    return (
        found,
        module.default_app.main,
        module.app_or_default() is app,
        module.app_or_default(5),
        state.default_app is app,
    )


def current_in_threads(lib: Library) -> Any:
    first, second = lib.bare_app("first"), lib.bare_app("second")
    first.set_default()
    second.set_current()
    seen: list[Any] = []

    def look() -> None:
        seen.append(lib.current_app.main)
        first.set_current()
        seen.append(lib.current_app.main)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return seen, lib.current_app.main


def current_by_construction(lib: Library) -> Any:
    first = lib.Celery("first")
    current = lib.current_app.main
    lib.Celery("second", set_as_current=False)
    return current, lib.current_app.main, first == lib.current_app


def current_application_is_a_proxy(lib: Library) -> Any:
    app = lib.bare_app("y")
    app.set_current()
    current = lib.current_app
    return (
        current == app,
        current is app,
        repr(current),
        bool(current),
        current.conf.timezone,
        hash(current) == hash(app),
    )


def current_task_outside_tasks(lib: Library) -> Any:
    return lib.current_task._get_current_object(), bool(lib.current_task), lib.bare_app("x").current_task


def names_of_tasks(lib: Library) -> Any:
    named, nameless = lib.bare_app("m"), lib.bare_app()
    return (
        named.gen_task_name("f", "__main__"),
        named.gen_task_name("f", "a.b"),
        named.gen_task_name("f", "a.tasks"),
        nameless.gen_task_name("f", "a"),
    )


def finalizing(lib: Library) -> Any:
    app = lib.bare_app("x")

    @app.task(shared=False)
    def task():
        pass

    before = app.finalized, sorted(app._tasks)
    app.finalize()
    return before, app.finalized, sorted(name.rpartition(".")[2] for name in app._tasks if "celery." not in name[:7])


def finalizing_must_be_explicit(lib: Library) -> Any:
    app = lib.bare_app("z", autofinalize=False)

    @app.task(shared=False)
    def task():
        return 1

    first = lib.raised(lambda: app.tasks), lib.raised(lambda: task.name)
    app.finalize()
    return first, task(), "celery.chain" in app.tasks


def tasks_declared_after_finalizing(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.finalize()

    @app.task(shared=False, name="late")
    def late():
        return 1

    return type(late).__name__, "late" in app.tasks


def built_in_tasks(lib: Library) -> Any:
    return sorted(name for name in lib.bare_app("x").tasks if name.startswith("celery."))


def registry(lib: Library) -> Any:
    app = lib.app()
    return (
        lib.raised(lambda: app.tasks["nope"]),
        app.tasks.get("nope"),
        lib.raised(lambda: app.tasks.unregister("nope")),
        list(app.tasks.periodic()),
        len(list(app.tasks.regular())) == len(app.tasks),
    )


def registry_operations(lib: Library) -> Any:
    registry = lib.module("app.registry").TaskRegistry()

    class Task(lib.Task):
        name = "t.t"

    class Nameless(lib.Task):
        pass

    registry.register(Task)
    registry.register(Task())
    shown = [type(each).__name__ for each in registry.values()], sorted(registry.regular())
    failed = lib.raised(lambda: registry.register(Nameless), text=False)
    registry.unregister(registry["t.t"])
    again = lib.raised(lambda: registry.unregister("t.t"))
    return shown, failed, len(registry), again, lib.raised(lambda: registry["x"]), type(registry).__mro__[1].__name__


def registry_not_registered_error(lib: Library) -> Any:
    registry = lib.module("app.registry").TaskRegistry()
    return (
        registry.NotRegistered.__name__,
        isinstance(registry.NotRegistered("x"), KeyError),
        repr(registry.NotRegistered("x")),
    )


def either(lib: Library) -> Any:
    app = lib.bare_app("q", task_default_queue="conf")
    return (
        app.either("task_default_queue", None),
        app.either("task_default_queue", 4),
        app.either("task_default_queue", 0),
        app.either("task_default_queue", None, None, 3),
        app.either("task_default_queue"),
        app.either("nope"),
    )


def bug_report(lib: Library) -> Any:
    text = lib.bare_app("q", broker="memory://").bugreport()
    return "software" in text, "transport:memory" in text, sorted(set(re.findall(r"^\w+(?= ->)", text, re.MULTILINE)))


def signatures(lib: Library) -> Any:
    app = lib.bare_app("q")
    sig = app.signature("foo", (1,), {"b": 2})
    return sig, sig.app is app, app.signature("foo", args=(1,), countdown=3), app._canvas is not None


def worker_main_needs_the_command(lib: Library) -> Any:
    app = lib.bare_app("q")
    return lib.raised(lambda: app.worker_main(argv=["celery", "beat"])), lib.raised(lambda: app.worker_main(argv=[]))


def types_of_parts(lib: Library) -> Any:
    app = lib.app("q")
    parts = app.control, app.log, app.events, app.amqp, app.loader, app.tasks, app.conf
    return [type(each).__name__ for each in parts], app.control is app.control, app.amqp is app.amqp


def parts_can_be_replaced(lib: Library) -> Any:
    app = lib.app("q")
    app.control = app.log = app.amqp = app.loader = mock = Mock(name="part")
    return app.control is mock, app.log is mock, app.amqp is mock, app.loader is mock


def identity(lib: Library) -> Any:
    app, other = lib.bare_app("q"), lib.bare_app("r")
    found = []
    thread = threading.Thread(target=lambda: found.append(app.thread_oid))
    thread.start()
    thread.join()
    return (
        app.oid == app.oid,
        app.thread_oid == app.thread_oid,
        len(app.oid),
        app.oid == other.oid,
        found[0] == app.thread_oid,
        app.thread_oid == other.thread_oid,
    )


def connections(lib: Library) -> Any:
    app = lib.app("q")
    with app.connection_for_read() as reading, app.connection_for_write() as writing, app.connection() as both:
        uris = [each.as_uri().partition(":")[0] for each in (reading, writing, both)]
    with app.connection_or_acquire() as acquired, app.connection_or_acquire(5) as given:
        same = hasattr(acquired, "as_uri"), given
    with app.producer_or_acquire() as producer, app.producer_or_acquire(6) as given_producer:
        producers = type(producer).__name__, given_producer
    return uris, same, producers


def connections_with_other_addresses(lib: Library) -> Any:
    app = lib.app("q", broker_read_url="memory://r", broker_write_url="memory://w")
    return (
        app.connection_for_read().as_uri().partition(":")[0],
        app.connection_for_write().as_uri().partition(":")[0],
        app.connection("memory://x").as_uri().partition(":")[0],
    )


def pools(lib: Library) -> Any:
    app = lib.app("q", broker_pool_limit=3)
    pool = app.pool
    return pool.limit, app.pool is pool or not lib.is_celery, hasattr(app.producer_pool, "acquire")


def backend_can_be_set(lib: Library) -> Any:
    app = lib.app("l")
    return app.backend is app.backend, lib.raised(lambda: setattr(app, "backend", 3), text=False)


def time_zones(lib: Library) -> Any:
    def shown(**settings: Any) -> Any:
        app = lib.bare_app("x", **settings)
        return str(app.timezone), app.uses_utc_timezone(), str(app.now().tzinfo), app.now().utcoffset() is not None

    return (
        shown(),
        shown(timezone="Europe/Berlin"),
        shown(timezone="UTC"),
        shown(timezone="US/Eastern", enable_utc=False),
    )


def now_is_the_time(lib: Library) -> Any:
    apps = lib.bare_app("x"), lib.bare_app("y", timezone="Asia/Tokyo"), lib.bare_app("z", enable_utc=False)
    return [abs((datetime.now(UTC) - app.now()).total_seconds()) < 5 for app in apps]


def discovered_tasks(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.loader = Mock(name="loader")
    app.autodiscover_tasks(["a", "b"], force=True)
    app.autodiscover_tasks(lambda: ["c"], related_name="jobs", force=True)
    app.autodiscover_tasks(["d"], related_name=None, force=True)
    app.autodiscover_tasks(force=True)
    return app.loader.autodiscover_tasks.call_args_list


def discovered_tasks_when_modules_are_imported(lib: Library) -> Any:
    app = lib.bare_app("x")
    seen: list[Any] = []
    app.loader.autodiscover_tasks = lambda *args: seen.append(args)
    app.autodiscover_tasks(["a"])
    app.autodiscover_tasks(lambda: ["b"], "jobs")
    before = list(seen)
    lib.module("signals").import_modules.send(sender=app)
    lib.module("signals").import_modules.send(sender=lib.bare_app("other"))
    return before, seen


def discovered_modules(lib: Library) -> Any:
    with _module("scenario_pkg", __path__=[]), _module("scenario_pkg.tasks"), _module("scenario_pkg.jobs"):
        app = lib.bare_app("x")
        return (
            lib.raised(lambda: app.autodiscover_tasks(["scenario_pkg"], force=True)),
            lib.raised(lambda: app.autodiscover_tasks(["scenario_pkg"], "jobs", force=True)),
            lib.raised(lambda: app.autodiscover_tasks(["scenario_pkg"], "nope", force=True)),
            lib.raised(lambda: app.autodiscover_tasks(["scenario_pkg.jobs"], None, force=True)),
        )


def discovery_by_fixups(lib: Library) -> Any:
    app = lib.bare_app("x")
    app.loader = Mock(name="loader")
    first, second = Mock(name="a"), Mock(name="b")
    first.autodiscover_tasks.return_value, second.autodiscover_tasks.return_value = ["A"], ["B", "C"]
    app._fixups = [first, second]
    app.autodiscover_tasks(force=True)
    return app.loader.autodiscover_tasks.call_args


def fixups_are_applied(lib: Library) -> Any:
    seen: list[Any] = []
    with _module("scenario_fixup", fixup=lambda app: seen.append(app.main), other=lambda app: seen.append("other")):
        app = lib.bare_app("x", fixups=["scenario_fixup:fixup", "scenario_fixup:other"])
        return seen, sorted(app.fixups)


def periodic_tasks(lib: Library) -> Any:
    app = lib.bare_app("c")

    @app.task(shared=False, name="t")
    def task(*args):
        pass

    keys = [
        app.add_periodic_task(10, task.s(), name="hey"),
        app.add_periodic_task(11.5, task.s(1)),
        app.add_periodic_task(
            lib.module("schedules").crontab(hour=3), task.s(1), args=(2,), kwargs={"a": 3}, expires=9
        ),
        app.add_periodic_task(1, task, (5,)),
    ]
    return keys, app.conf.beat_schedule


def periodic_tasks_of_configuration(lib: Library) -> Any:
    app = lib.bare_app("p")

    @app.task(shared=False, name="t")
    def task(x=1):
        pass

    @app.on_after_configure.connect
    def set_up(sender, **_):
        sender.add_periodic_task(10.0, task.s(3), name="n", queue="q")

    app.conf.beat_schedule = {"own": {"task": "t", "schedule": 3}}
    return app.conf.beat_schedule


def send_task_under_always_eager_warns(lib: Library) -> Any:
    app = lib.app(task_always_eager=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        app.send_task("foo")
    return [each.category.__name__ for each in caught]


def selected_queues(lib: Library) -> Any:
    app = lib.app(task_queues={"foo": {}, "bar": {}, "baz": {}})
    app.select_queues(["foo", "bar"])
    first = sorted(app.amqp.queues.consume_from)
    app.amqp.queues.deselect(["foo"])
    return first, sorted(app.amqp.queues.consume_from), app.select_queues()


def names_at_the_top(lib: Library) -> Any:
    names = [
        "Celery",
        "Task",
        "chain",
        "group",
        "chord",
        "chunks",
        "xmap",
        "xstarmap",
        "signature",
        "subtask",
        "maybe_signature",
        "uuid",
        "shared_task",
        "current_app",
        "current_task",
        "bugreport",
        "Signature",
        "VERSION",
        "version_info",
        "SERIES",
        "app",
        "bootsteps",
        "result",
    ]
    return [name for name in names if not hasattr(lib, name)], _missing(lib)


def _missing(lib: Library) -> list[str]:
    names = [
        "Celery",
        "AppPickler",
        "app_or_default",
        "bugreport",
        "default_app",
        "enable_trace",
        "disable_trace",
        "shared_task",
    ]
    return [name for name in (*names, "push_current_task", "pop_current_task") if not hasattr(lib.module("app"), name)]


def loader_of_environment(lib: Library) -> Any:
    with _environment(CELERY_LOADER="default"):
        return type(lib.bare_app("l").loader).__name__, type(lib.bare_app("l", loader="app").loader).__name__


def broker_of_environment(lib: Library) -> Any:
    with _environment(CELERY_BROKER_URL="memory://env", CELERY_RESULT_BACKEND="cache+memory://"):
        app, given = lib.bare_app("l"), lib.bare_app("l", broker="memory://given")
        return app.conf.broker_url, app.conf.result_backend, given.conf.broker_url


def user_options_and_steps(lib: Library) -> Any:
    app = lib.bare_app("x")
    return sorted(app.user_options), sorted(app.steps), [type(each).__name__ for each in app.steps.values()]


def security_without_files(lib: Library) -> Any:
    app = lib.app("x")
    return lib.raised(app.setup_security, text=False), lib.raised(
        lambda: app.setup_security(serializer="yaml"), text=False
    )


def trace_of_current_application(lib: Library) -> Any:
    module = lib.module("app")
    app = lib.bare_app("x")
    module.enable_trace()
    module.disable_trace()
    return lib.module("_state").app_or_default(app) is app


def address_of_connection(lib: Library) -> Any:
    return lib.app("x").connection().as_uri()


def parts_of_connections(lib: Library) -> Any:
    def shown(app: Any, *args: Any, **given: Any) -> Any:
        info = dict(app.connection(*args, **given).info())
        return {name: of for name, of in sorted(info.items()) if name != "failover_strategy"}

    app = lib.bare_app("x")
    settings = {
        "broker": "amqp://conf:pw@h/v",
        "broker_connection_timeout": 7,
        "broker_transport_options": {"x": 2},
        "broker_use_ssl": {"a": 1},
    }
    urls = (
        "amqp://u:p@host:1/v",
        "pyamqp:////value",
        "amqp://h//",
        "memory://",
        "sqs://key:s%2Fecret@",
        "amqp://a:1//;amqp://b:2//",
    )
    return (
        [shown(app, url) for url in urls],
        shown(
            app,
            "amqp://h",
            userid="x",
            password="y",
            virtual_host="z",
            port=3,
            ssl=True,
            connect_timeout=9,
            heartbeat=4,
        ),
        shown(lib.bare_app("y", **settings)),
        shown(lib.bare_app("y", **settings), transport_options={"z": 3}),
        shown(lib.bare_app("z", broker_user="user", broker_password="secret")),
    )
