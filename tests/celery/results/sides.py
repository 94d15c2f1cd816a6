"""One scenario on two sides: real Celery, and ours."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

SETTINGS = {
    "broker_url": "memory://",
    "result_backend": "cache+memory://",
    "result_extended": True,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
}


class Side:
    """The modules and an application of one side.

    Args:
        root: the package: ``"celery"``, or ours.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.app = self.make_app("results")

    def make_app(self, name: str, **settings: Any) -> Any:
        app = self.of("app").Celery(name, set_as_current=False, fixups=[])
        app.conf.update({**SETTINGS, **settings})

        @app.task(name="add", shared=False)  # type: ignore[untyped-decorator]
        def add(x: int, y: int) -> int:
            return x + y

        app.finalize()
        return app

    def of(self, module: str = "") -> Any:
        return importlib.import_module(f"{self.root}.{module}" if module else self.root)

    @property
    def result(self) -> Any:
        return self.of("result")

    @property
    def errors(self) -> Any:
        return self.of("exceptions")

    def make_backend(self, base: str = "KeyValueStoreBackend", app: Any = None, **options: Any) -> Any:
        """A backend over a dict, derived from one of the base classes."""
        kind = getattr(self.of("backends.base"), base)

        class Backend(kind):  # type: ignore[misc, valid-type]
            supports_native_join = True
            implements_incr = options.pop("counts", False)
            returns_dict = options.pop("returns_dict", False)
            supports_result_compression = True

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self.db: dict[Any, Any] = {}
                self.expired: list[Any] = []
                super().__init__(*args, **kwargs)

            def get(self, key: Any) -> Any:
                return self.db.get(key)

            def set(self, key: Any, value: Any) -> None:
                self.db[key] = value

            def mget(self, keys: Any) -> Any:
                if self.returns_dict:
                    return {key: self.get(key) for key in keys}
                return [self.get(key) for key in keys]

            def delete(self, key: Any) -> None:
                self.db.pop(key, None)

            def incr(self, key: Any) -> int:
                self.db[key] = self.db.get(key, 0) + 1
                counted: int = self.db[key]
                return counted

            def expire(self, key: Any, value: Any) -> None:
                self.expired.append((key, value))

        return Backend(self.app if app is None else app, **options)


def outcome(scenario: Callable[[Side], Any], side: Side) -> Any:
    """What a scenario returns, or the name and the arguments of the exception that it raises."""
    try:
        return plain(scenario(side))
    except Exception as error:
        return f"raised {type(error).__name__}"


def plain(value: Any) -> Any:
    """A value without what differs by its nature: the objects of a package are shown by their representation."""
    if isinstance(value, BaseException):
        return type(value).__name__, plain(value.args)
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items() if key not in ("date_done", "exc_module")}
    if isinstance(value, list | tuple | set | frozenset):
        made = [plain(each) for each in value]
        return (type(value).__name__, sorted(made, key=repr) if isinstance(value, set | frozenset) else made)
    if value is None or isinstance(value, str | int | float | bytes | bool):
        return value
    if hasattr(value, "__reduce_args__") or type(value).__module__.startswith(("celery", "taskq_cloud")):
        return repr(value).replace("taskq_cloud.celery", "celery")
    return value
