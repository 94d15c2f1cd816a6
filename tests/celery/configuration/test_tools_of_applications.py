"""Secrets in settings, reports for bug trackers, pickling, and finding an application, beside Celery's own."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from taskq_cloud.celery.app import utils
from tests.celery.configuration.comparing import compare


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:secret@localhost:6379/0", "redis://u:secret@h", "redis://user:secret@localhost:6379?a=1;b=2"),
        *("cache+memcached://user:secret@s1:11211;s2:11211/", "cache+memory://", "rpc://", "plain", "", None, 3),
        *("sentinel://:s@h1:26379;sentinel://:s@h2:26379/0", "sentinel://:secret@h1:26379;h2:26379/0"),
        "azureblockblob://DefaultEndpointsProtocol=https;AccountName=x;AccountKey=SECRET==;Suffix=y",
        *(
            "azureblockblob://BlobEndpoint=https://x/?sv=1&sig=A%3d&se=1;accountkey =1",
            "azureblockblob://SharedAccessSignature=1",
        ),
        *("db+sqlite:///x.db", "db+postgresql://u:p;a,b@h/d", "a://p@ss@h", "a://u:p@ss@h/x@y", "a://h1, h2 ,,h3/x"),
        *("a://u@h", "a://u:p@h1,v:q@h2/x", "a://u:p@h1,v@h2", "a://u:pa,:b@h", "a://", "a://@", "a://:@h"),
        *(
            "mongodb://u:p@h1:1,h2:2,h3/db?x=1",
            "dynamodb://key:sec@eu-west-1/t",
            "a://u:p@h1;a://",
            "a://u:p@[::1]:80/x#f",
        ),
    ],
)
def test_sanitized_url_is_celerys(url: Any) -> None:
    compare("app.utils", lambda module: (module.sanitize_url(url), module.sanitize_url(url, mask="-")))


@pytest.mark.parametrize(
    "url",
    [
        *("amqp://u:p@h:123//", "amqp://u:p@h", "amqp://", "amqp://h/v", "amqps://u:p@h/a%2Fb", "amqp://u%40:p@h//"),
        *("amqp://u@h//;amqp://x", ["amqp://u:p@h:123//", "memory://"]),
    ],
)
def test_broker_url_is_shown_as_by_celery(url: Any) -> None:
    compare("app.utils", lambda module: module.filter_hidden_settings({"broker_url": url}))


@pytest.mark.parametrize("url", ["sqs://key:secret@", "redis://:secret@h/0", "pubsub://u:secret@x"])
def test_password_of_other_brokers_is_masked(url: str) -> None:
    assert "secret" not in utils.filter_hidden_settings({"broker_read_url": url})["broker_read_url"]


def test_hidden_settings_are_celerys() -> None:
    def filtered(module: Any) -> Any:
        conf = {
            "security_key": "a",
            "MY_TOKEN": "b",
            "api": "c",
            "worker_pool": "d",
            3: "e",
            "databases": "f",
            "broker_transport_options": {"password": "g", "region": "h"},
            "result_backend": "redis://:i@j",
        }
        return module.filter_hidden_settings(conf)

    assert compare("app.utils", filtered)["security_key"] == "********"


def test_application_is_named_as_by_celery() -> None:
    app = SimpleNamespace(main=None)
    compare("app.utils", lambda module: (module.appstr(app), module.appstr(SimpleNamespace(main="shop"))[:8]))


def test_pickler_makes_celerys_arguments() -> None:
    def made(module: Any) -> Any:
        kwargs: dict[str, Any] = {}
        app = module._unpickle_app(
            lambda **given: kwargs.update(given) or SimpleNamespace(conf={}),
            module.AppPickler,
            *("main", {"a": 1}, "loader", "backend", "amqp", "events", "log", "control", False, "source", True),
        )
        return app.conf, kwargs, module._unpickle_app_v2(dict, {"main": 1})

    assert compare("app.utils", made)[0] == {"a": 1}


def test_report_shows_settings_without_secrets() -> None:
    conf = utils.detect_settings({"result_backend": "redis://:secret@h", "security_key": "secret"})
    report = utils.bugreport(SimpleNamespace(conf=conf, loader=conf, connection=SimpleNamespace))
    assert "results:redis://:********@h" in report
    assert "loader   -> taskq_cloud.celery.app._settings.Settings" in report
    assert "secret" not in report.replace("secret_", "")


# -- finding an application


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("shop_of_test")
    monkeypatch.setitem(sys.modules, "shop_of_test", module)
    return module


def test_application_is_found_by_attribute(shop: ModuleType) -> None:
    shop.__dict__.update(app="app", celery="celery", other="other")
    names = ["", ":other", ".other", ":app"]
    found = compare("app.utils", lambda module: [module.find_app(f"shop_of_test{name}") for name in names])
    assert found == ["app", "other", "other", "app"]


def test_attribute_celery_is_found_if_app_is_a_module(shop: ModuleType) -> None:
    shop.__dict__.update(app=sys, celery="celery")
    assert compare("app.utils", lambda module: module.find_app("shop_of_test")) == "celery"


def test_application_of_a_package_is_in_its_module_celery(shop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = ModuleType("shop_of_test.celery")
    inner.__dict__["app"] = "inner"
    shop.__dict__["__path__"] = ["nowhere"]
    monkeypatch.setitem(sys.modules, "shop_of_test.celery", inner)
    assert compare("app.utils", lambda module: module.find_app("shop_of_test")) == "inner"


def test_any_application_of_a_module_is_found(shop: ModuleType) -> None:
    from taskq_cloud.celery.app.base import Celery

    app = shop.__dict__["project"] = Celery("shop", set_as_current=False)
    assert utils.find_app("shop_of_test") is app


@pytest.mark.parametrize("content", [{}, {"celery": sys}, {"__path__": []}])
def test_module_without_application_is_an_error(shop: ModuleType, content: dict[str, Any]) -> None:
    shop.__dict__.update(content)
    error, _ = compare("app.utils", lambda module: module.find_app("shop_of_test"))
    assert error == "AttributeError"
