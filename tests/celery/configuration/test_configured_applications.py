"""When and from where an application reads its configuration, beside Celery's own."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_cloud.celery import Celery
from tests.celery.configuration.comparing import compare, outcome

Make = Callable[..., Any]


class Configuration:
    worker_agent = "shop:Agent"
    result_expires = 3
    own = 1


class Old:
    BROKER_URL = "amqp://old"
    CELERYD_AGENT = "old:Agent"
    CELERY_ALWAYS_EAGER = True


class Mixed:
    BROKER_URL = "amqp://old"
    worker_agent = "shop:Agent"


class Prefixed:
    CELERY_WORKER_AGENT = "shop:Agent"
    CELERY_RESULT_EXPIRES = 4
    TIME_ZONE = "Asia/Tokyo"
    result_backend = "disabled"


def scenario_set_before(make: Make) -> Any:
    app = make(broker="amqp://here")
    app.conf.worker_agent = "a:B"
    app.conf["own"] = 1
    before = app.configured
    return before, app.conf.worker_agent, app.conf.broker_url, app.conf.own, app.configured, app._conf["worker_agent"]


def scenario_update_before(make: Make) -> Any:
    app = make(backend="disabled")
    app.conf.update(worker_agent="a:B", task_routes={})
    app.conf.setdefault("worker_pool", "solo")
    found = "worker_agent" in app.conf, app.configured
    return found, app.conf.worker_agent, app.conf.worker_pool, app.conf.result_backend, app.configured


def scenario_iterate_before(make: Make) -> Any:
    app = make(worker_agent="a:B")
    app.conf.own = 1
    return "own" in list(app.conf), app.configured, len(app.conf) > 200, "worker_agent" in set(app.conf.keys())


def scenario_repr_before(make: Make) -> Any:
    app = make(worker_agent="a:B")
    return "a:B" in repr(app.conf), app.configured


def scenario_copy_before(make: Make) -> Any:
    app = make(worker_agent="a:B")
    return app.conf.copy().worker_agent, app.configured


def scenario_reference_stays(make: Make) -> Any:
    app = make(worker_agent="a:B")
    conf = app.conf
    conf.task_routes = {"a": "b"}
    first = conf.worker_agent
    conf.worker_agent = "c:D"
    return first, app.conf is conf, app.conf.worker_agent, app.conf.task_routes


def scenario_object(make: Make) -> Any:
    app = make()
    app.conf.own = 2
    app.config_from_object(Configuration)
    before = app.configured
    return before, app.conf.worker_agent, app.conf.result_expires, app.conf.own


def scenario_object_by_name(make: Make) -> Any:
    app = make()
    app.config_from_object(f"{__name__}:Configuration")
    return app.conf.worker_agent


def scenario_missing_object(make: Make) -> Any:
    app = make()
    app.config_from_object("nothing.at.all")
    return app.conf.worker_agent


def scenario_missing_object_silently(make: Make) -> Any:
    app = make()
    app.config_from_object("nothing.at.all", silent=True)
    return app.conf.worker_agent


def scenario_forced_object(make: Make) -> Any:
    app = make(worker_pool="solo")
    app.conf.worker_concurrency = 3
    answer = app.config_from_object({"worker_agent": "a:B"}, force=True)
    return answer.worker_agent, answer is app.conf, app.configured, app.conf.worker_pool, app.conf.worker_concurrency


def scenario_forced_missing_object(make: Make) -> Any:
    app = make()
    app.config_from_object("nothing.at.all", force=True)


def scenario_object_after(make: Make) -> Any:
    app = make()
    before = app.conf.worker_agent
    app.config_from_object(Configuration)
    return before, app.conf.worker_agent


def scenario_old_names(make: Make) -> Any:
    app = make(broker="amqp://here")
    app.config_from_object(Old)
    conf = app.conf
    return conf.broker_url, conf.worker_agent, conf.task_always_eager, conf.CELERYD_AGENT, conf.CELERYD_POOL


def scenario_mixed_names(make: Make) -> Any:
    app = make()
    app.config_from_object(Mixed)
    return app.conf.worker_agent


def scenario_mixed_changes(make: Make) -> Any:
    app = make(broker="amqp://here")
    app.conf.CELERYD_AGENT = "a:B"
    return app.conf.worker_agent


def scenario_namespace(make: Make) -> Any:
    app = make()
    app.config_from_object(Prefixed, namespace="CELERY")
    app.conf.worker_pool = "solo"
    conf = app.conf
    return conf.worker_agent, conf.result_expires, conf.timezone, conf.result_backend, conf.worker_pool, app.namespace


def scenario_namespace_of_constructor(make: Make) -> Any:
    app = make(namespace="CELERY", config_source=Prefixed, worker_concurrency=3)
    return app.conf.worker_agent, app.conf.worker_concurrency, app.conf.task_default_queue


def scenario_changes(make: Make) -> Any:
    app = make(changes={"worker_agent": "a:B"})
    return app.conf.worker_agent


def scenario_defaults(make: Make) -> Any:
    app = make(worker_pool="solo")
    app.add_defaults({"worker_agent": "a:B", "worker_pool": "threads"})
    app.add_defaults(lambda: {"worker_agent": "c:D", "own": 3})
    before = app.configured
    found = app.conf.worker_agent, app.conf.worker_pool, app.conf.own
    app.add_defaults({"worker_agent": "e:F"})
    return before, found, app.conf.worker_agent


def scenario_defaults_that_ask_for_the_configuration(make: Make) -> Any:
    app = make(worker_pool="solo")
    app.add_defaults(lambda: {"own": app.conf.worker_pool})
    return app.conf.own


def scenario_command_line(make: Make) -> Any:
    app = make()
    app.config_from_cmdline(["worker.prefetch_multiplier=2", ".foo=(int)3"], namespace="worker")
    return app.conf.worker_prefetch_multiplier, app.conf.worker_foo


def scenario_signals(make: Make) -> Any:
    app = make()
    heard: list[Any] = []

    def configuring(sender: Any, **_: Any) -> None:
        heard.append(("configure", sender is app, app.configured))
        app.conf.own = 1

    def configured(sender: Any, source: Any, **_: Any) -> None:
        heard.append(("after", sender is app, source.own))

    app.on_configure.connect(configuring)
    app.on_after_configure.connect(configured)
    return app.conf.own, heard


def scenario_prepared(make: Make) -> Any:
    app = make(config_source={"own": 1})
    app.prepare_config = lambda found: {**found, "more": 2}
    return app.conf.own, app.conf.more


def scenario_pickled_before(make: Make) -> Any:
    app = make(broker="amqp://here")
    app.conf.worker_agent = "a:B"
    again = pickle.loads(pickle.dumps(app))
    return again.conf.worker_agent, again.conf.broker_url, again.main


def scenario_pickled_after(make: Make) -> Any:
    app = make(broker="amqp://here", config_source=f"{__name__}:Configuration")
    app.conf.worker_agent = "a:B"
    assert app.conf.own == 1
    again = pickle.loads(pickle.dumps(app))
    return again.conf.worker_agent, again.conf.own, again.conf.result_expires


def scenario_either(make: Make) -> Any:
    app = make(worker_agent="a:B")
    return (
        app.either("worker_agent"),
        app.either("worker_agent", None, 3),
        app.either("worker_agent", None),
        app.either("x"),
    )


def scenario_environment(make: Make) -> Any:
    app = make()
    app.config_from_envvar("SHOP_CONFIG")
    return app.conf.worker_agent


def scenario_missing_environment(make: Make) -> Any:
    return make().config_from_envvar("SHOP_NOTHING", silent=True)


def scenario_include(make: Make) -> Any:
    app = make(include=["shop"])
    return app.conf.include, app.conf.imports


def scenario_deprecated(make: Make) -> Any:
    app = make(config_source=SimpleNamespace(CELERYD_POOL="solo"))
    return app.conf.deprecated_settings, app.conf.table()


def scenario_loader(make: Make) -> Any:
    app = make(loader="default")
    return type(app.loader).__name__, app.conf.worker_agent, app.loader.configured


SCENARIOS = {name.removeprefix("scenario_"): value for name, value in globals().items() if name.startswith("scenario_")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without modules, and a variable that names a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_CONFIG", f"{__name__}:Configuration")
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE", "CELERY_LOADER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", SCENARIOS)
def test_configuration_of_application_has_celerys_outcome(name: str) -> None:
    def run(module: Any) -> Any:
        apps: list[Any] = []

        def make(**given: Any) -> Any:
            apps.append(module.Celery("shop", set_as_current=False, fixups=[], **given))
            return apps[-1]

        try:
            return outcome(module, lambda _: SCENARIOS[name](make))
        finally:
            for app in apps:
                app.close()

    compare("app.base", run)


def test_missing_variable_is_named() -> None:
    from taskq_cloud.errors import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match="SHOP_NOTHING"):
        Celery(set_as_current=False).config_from_envvar("SHOP_NOTHING")


def test_native_application_has_changed_settings() -> None:
    app = Celery("shop", set_as_current=False, broker="memory://")
    assert app.native.conf.task_time_limit is None
    app.conf.task_time_limit = 3
    assert app.native.conf.task_time_limit == 3
    app.config_from_object({"task_time_limit": 4}, force=True)
    app.conf.clear()
    changed = app.native.conf
    assert (changed.task_time_limit, changed.results) == (4, "disabled://")
    app.close()
