"""One of the two libraries that a scenario runs with: Celery, or ``taskq_cloud.celery``."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_POLLING = {"polling_interval": 0.01}
WAIT = 10
"""How long a scenario waits for a result, in seconds."""


class Library:
    """The public names of a library, and what scenarios need of it.

    Args:
        package: ``celery`` or ``taskq_cloud.celery``.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.is_celery = package == "celery"

    def module(self, path: str) -> ModuleType:
        """Import a module of the library."""
        return import_module(f"{self.package}.{path}")

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.package), name)

    def app(self, main: str | None = "proj", **settings: Any) -> Any:
        """Make an application that isn't the current one, with a broker and a backend in memory."""
        return self.bare_app(
            main,
            **{"broker": "memory://", "backend": "cache+memory://", "broker_transport_options": _POLLING, **settings},
        )

    def bare_app(self, *args: Any, **settings: Any) -> Any:
        """Make an application that isn't the current one, without a broker."""
        return self.Celery(*args, **{"set_as_current": False, **settings})

    def raised(self, function: Callable[[], Any], *, text: bool = True) -> tuple[str, ...]:
        """The type of the exception that a function raises, and its text unless the libraries have their own words."""
        try:
            function()
        except Exception as error:
            return (type(error).__name__, str(error)) if text else (type(error).__name__,)
        return ("nothing raised",)


def get(result: Any) -> Any:
    """The value of a result that a worker stores."""
    return result.get(timeout=WAIT, **({} if type(result).__name__ == "EagerResult" else {"interval": 0.01}))


def run(sig: Any, *args: Any, **options: Any) -> Any:
    """Send a signature, and wait for its value."""
    return get(sig.apply_async(*args, **options))


def shown(value: Any, package: str) -> str:
    """An outcome as text that is equal for both libraries: ids are numbers, and the package is called Celery."""
    ids: dict[str, str] = {}
    text = _ID.sub(lambda found: ids.setdefault(found[0], f"id-{len(ids) + 1}"), repr(value))
    return _ADDRESS.sub("0x", text).replace(package, "celery")


def outcome(scenario: Callable[[Any], Any], given: Any, package: str) -> str:
    """What a scenario returns, or the type and the text of the exception that it raises."""
    try:
        value = scenario(given)
    except Exception as error:
        value = ("raised", type(error).__name__, str(error))
    return shown(value, package)
