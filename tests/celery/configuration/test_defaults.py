"""The table of settings, beside Celery's own."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import celery.app.defaults as theirs
import pytest

from taskq_cloud.celery.app import defaults as ours
from tests.celery.configuration.comparing import compare

CLASSES = {"beat_scheduler", "worker_autoscaler", "worker_consumer"}


def moved(value: Any) -> Any:
    """A default of Celery's, with its classes where this package has them."""
    return f"taskq_cloud.{value}" if isinstance(value, str) and value.startswith("celery.") else value


@pytest.mark.parametrize("name", ["DEFAULTS", "_OLD_DEFAULTS"])
def test_defaults_are_celerys(name: str) -> None:
    assert getattr(ours, name) == {key: moved(value) for key, value in getattr(theirs, name).items()}


def test_only_paths_of_classes_differ_from_celerys_defaults() -> None:
    assert {key for key, value in ours.DEFAULTS.items() if value != theirs.DEFAULTS[key]} == CLASSES


@pytest.mark.parametrize(
    "name",
    [
        *("SETTING_KEYS", "_OLD_SETTING_KEYS", "_TO_OLD_KEY", "_TO_NEW_KEY", "OLD_NS", "OLD_NS_BEAT", "OLD_NS_WORKER"),
        *("DEFAULT_POOL", "DEFAULT_ACCEPT_CONTENT", "DEFAULT_PROCESS_LOG_FMT", "DEFAULT_TASK_LOG_FMT"),
        *("DEFAULT_SECURITY_DIGEST",),
    ],
)
def test_tables_are_celerys(name: str) -> None:
    assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize("key", sorted(theirs.DEFAULTS))
def test_option_is_celerys(key: str) -> None:
    def described(option: Any) -> Any:
        return option.type, set(option.old), option.alt, option.deprecate_by, option.remove_by, moved(option.default)

    assert described(dict(ours.flatten(ours.NAMESPACES))[key]) == described(
        dict(theirs.flatten(theirs.NAMESPACES))[key]
    )


def test_settings_are_in_celerys_order() -> None:
    assert list(ours.DEFAULTS) == list(theirs.DEFAULTS)


@pytest.mark.parametrize("kind", ["string", "int", "float", "any", "bool", "dict", "tuple", "list", None])
@pytest.mark.parametrize("value", ["1", "yes", "nonsense", "off", ()])
def test_option_converts_texts_as_celerys(kind: str | None, value: Any) -> None:
    compare("app.defaults", lambda module: module.Option(3, type=kind).to_python(value))


def test_option_shows_its_type_and_default_as_celerys() -> None:
    assert (
        compare("app.defaults", lambda module: repr(module.Option(3, type="int"))) == "<Option: type->int default->3>"
    )


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        *(("disable_rate_limits", "worker"), ("disable_rate_limits", ""), ("URL", "Broker"), ("url", "celery")),
        *(("worker", ""), ("worker_concurrency", ""), ("TIMEZONE", ""), ("nothing", ""), ("backend", "")),
        *(("queue_ttl", ""), ("queue_ttl", "event"), ("always_eager", "celery"), ("broker_url", "celery")),
    ],
)
def test_find_has_celerys_outcome(name: str, namespace: str) -> None:
    def found(module: Any) -> Any:
        result = module.find(name, namespace)
        return (
            result.namespace,
            result.key,
            repr(result.type) if isinstance(result.type, module.Option) else len(result.type),
        )

    compare("app.defaults", found)


def test_flatten_reads_own_namespaces_as_celerys() -> None:
    def flat(module: Any) -> Any:
        one, two = module.Option(1), module.Option(2)
        nested = {"x": module.Namespace({"old_{0}"}, y=two), "z": one}
        keyed = list(module.flatten(nested, root="a_", keyfilter=lambda ns, key, option: [(ns, key, option.old)]))
        return [(key, option.default) for key, option in module.flatten(nested)], keyed

    assert compare("app.defaults", flat)[1] == [("a_", "z", set()), ("a_x_", "y", {"old_y"})]


def test_deprecated_settings_are_warned_of_as_by_celery() -> None:
    def warned(module: Any) -> Any:
        source = SimpleNamespace(task_acks_on_failure_or_timeout=True, task_acks_late=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert module.find_deprecated_settings(source) is source
        return [(each.category.__name__, " ".join(str(each.message).split())) for each in caught]

    assert len(compare("app.defaults", warned)) == 1
