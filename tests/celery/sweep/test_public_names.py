"""The public names of Celery's modules are here, with their attributes and parameters, but for listed differences."""

import contextlib
import importlib
import inspect
import io
import pkgutil
import warnings
from collections.abc import Iterator
from fnmatch import fnmatch
from types import ModuleType
from typing import Any

import celery
import pytest

INTERNAL = {
    "celery.apps.multi": "starts many workers on a machine, which a platform does",
    "celery.backends.[!bc]*": "stores of their own names, whose keys are the native stores'",
    "celery.backends.ca[!c]*": "another store of these",
    "celery.backends.co*": "other stores of these",
    "celery.bin.*": "the functions of commands, which are called by the command line",
    "celery.concurrency.*": "the pools' own code",
    "celery.contrib.migrate": "moves messages between brokers of AMQP; `taskq migrate` moves projects",
    "celery.contrib.sphinx": "an extension of Sphinx for Celery's own documentation style",
    "celery.events.cursesmon": "a monitor in a terminal, which needs a transport of events",
    "celery.utils.static": "Celery's logo",
    "celery.worker.autoscale": "the native worker has its own",
    "celery.worker.components": "steps of Celery's own worker; their names are here for `requires`",
    "celery.worker.consumer*": "Celery's own consumer of messages",
    "celery.worker.heartbeat": "sends events of workers, which need a transport",
    "celery.worker.loops": "Celery's own event loop",
    "celery.worker.pidbox": "the worker's end of remote control, which needs a transport",
    "celery.worker.request": "the native pipeline handles messages",
}
"""Modules that are not compared, with the reason."""

_EVENT_LOOP = "the native worker has no event loop of Celery's"
_MIXIN = "kombu's loop of consumers, which a transport of events brings with it"
_OBJECTS = "an attribute of objects only"
_DEFAULTS = "a default value that Celery uses to look names up faster"

ALLOWED = {
    "celery.apps.worker.Worker.install_platform_tweaks": "macOS's own, which the native worker needs not",
    "celery.apps.worker.Worker.macOS_proxy_detection_workaround": "macOS's own, which the native worker needs not",
    "celery.*Work*er.register_with_event_loop": _EVENT_LOOP,
    "celery.*Work*er.should_use_eventloop": _EVENT_LOOP,
    "celery.*Work*er.signal_consumer_close": "the native worker closes its consumers itself",
    "celery.*Work*er.wait_for_soft_shutdown": "the native worker waits by its setting shutdown_timeout",
    "celery.backends.cache.CacheBackend.*": "results in memory are kept by the native store, which has no keys",
    "celery.contrib.testing.worker.TestWorkController.*": "it runs the native worker, without the steps of Celery's",
    "celery.beat.BeatPidbox.*": "beat's end of remote control, which needs a transport",
    "celery.events*EventReceiver.*": _MIXIN,
    "celery.security.serialization.register_auth": "the native serializer has the name auth",
    "celery.utils.text.join(l)": "the parameter has no name that can be read",
    "celery.utils.threads.bound_open_broker_sockets": "connections to brokers are the native clients'",
    "celery.utils.timer2.Entry.*": _OBJECTS,
    "celery.utils.collections.BufferMap.maxsize": _OBJECTS,
    "celery.worker.state.Persistent": "the result store keeps what is revoked, and no file does",
    "celery.worker.state.task_*(*)": _DEFAULTS,
}
"""What is missing here, with the reason. A parameter is written as ``function(parameter)``."""


def _modules() -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [each.name for each in pkgutil.walk_packages(celery.__path__, "celery.", onerror=lambda _: None)]
    return [name for name in sorted(found) if not name.endswith("__main__") and not _matched(name, INTERNAL)]


def _matched(name: str, patterns: dict[str, str]) -> list[str]:
    return [pattern for pattern in patterns if fnmatch(name, pattern)]


def _imported(name: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return importlib.import_module(name)


def _public(module: ModuleType) -> list[str]:
    listed = getattr(module, "__all__", None)
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return sorted(name for name in listed or own if not isinstance(getattr(module, name), ModuleType))


def _parameters(function: Any) -> dict[str, Any] | None:
    try:
        return dict(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return None


def _missing_parameters(path: str, theirs: Any, ours: Any) -> Iterator[str]:
    expected, given = _parameters(theirs), _parameters(ours)
    if expected is None or given is None or any(each.kind is each.VAR_KEYWORD for each in given.values()):
        return
    for name, parameter in expected.items():
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if by_name and name not in given and name not in ("self", "cls"):
            yield f"{path}({name})"


def _missing_of_class(path: str, theirs: type, ours: Any) -> Iterator[str]:
    for name in dir(theirs):
        if name.startswith("_"):
            continue
        if not hasattr(ours, name):
            yield f"{path}.{name}"
        elif callable(getattr(theirs, name)) and not isinstance(getattr(theirs, name), type):
            yield from _missing_parameters(f"{path}.{name}", getattr(theirs, name), getattr(ours, name))


def _missing(name: str) -> Iterator[str]:
    theirs, ours = _imported(name), _imported(f"taskq_cloud.{name}")
    for public in _public(theirs):
        path = f"{name}.{public}"
        if not hasattr(ours, public):
            yield path
            continue
        expected, given = getattr(theirs, public), getattr(ours, public)
        if isinstance(expected, type):
            yield from _missing_of_class(path, expected, given)
            yield from _missing_parameters(path, expected, given)
        elif callable(expected):
            yield from _missing_parameters(path, expected, given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", _modules())
def test_public_names_are_celerys(name: str) -> None:
    assert not [missing for missing in _missing(name) if not _matched(missing, ALLOWED)]


@pytest.mark.filterwarnings("ignore")
def test_listed_differences_exist() -> None:
    missing = [each for name in _modules() for each in _missing(name)]
    used = {pattern for each in missing for pattern in _matched(each, ALLOWED)}
    assert used == set(ALLOWED)
