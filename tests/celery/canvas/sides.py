"""Celery and taskq_cloud.celery side by side: one scenario runs on both, and its outcomes are compared."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"0x[0-9a-f]+")


@dataclass
class Side:
    """One of the two packages, with an application and its tasks."""

    package: str
    app: Any
    tasks: dict[str, Any] = field(default_factory=dict)

    def module(self, path: str) -> ModuleType:
        """Import a module of the package."""
        return importlib.import_module(f"{self.package}.{path}" if path else self.package)

    def __getattr__(self, name: str) -> Any:
        if name in self.tasks:
            return self.tasks[name]
        return getattr(self.module("canvas"), name)


def make_side(package: str, **settings: Any) -> Side:
    """Make an application of a package, with a few tasks."""
    celery_class = importlib.import_module(package).Celery
    app = celery_class("proj", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(settings)
    side = Side(package, app)

    def add(x: Any, y: Any) -> Any:
        return x + y

    def mul(x: Any, y: Any) -> Any:
        return x * y

    def tsum(values: Any) -> Any:
        return sum(values)

    def same(value: Any = None) -> Any:
        return value

    def one() -> Any:
        return 1

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("no")

    def many(*args: Any, **kwargs: Any) -> Any:
        return [list(args), kwargs]

    for function in (add, mul, tsum, same, one, fail, many):
        side.tasks[function.__name__] = app.task(name=f"proj.tasks.{function.__name__}", shared=False)(function)
    app.finalize()
    return side


class Normaliser:
    """Makes values comparable: ids become numbers in the order in which they occur, and results become tuples."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        shown = value
        match value:
            case str():
                shown = _ADDRESS.sub("0x", _UUID.sub(self._number, value))
            case dict():
                items = {self(key): self._under(key, each) for key, each in dict.items(value)}
                shown = items if type(value) is dict else [type(value).__name__, items]
            case tuple():
                shown = ("tuple", *map(self, value))
            case list():
                shown = [*([] if type(value) is list else [type(value).__name__]), *map(self, value)]
            case BaseException():
                shown = ("raised", type(value).__name__, str(value))
            case object(results=[*results], id=group_id, parent=parent):
                shown = (type(value).__name__, self(group_id), self(results), self(parent))
            case object(task_id=task_id, parent=parent):
                shown = (type(value).__name__, self(task_id), self(parent))
        return shown

    def _under(self, key: Any, value: Any) -> Any:
        if key == "reply_to":
            return "reply_to"
        if key == "stamped_headers" and value is not None:
            return sorted(value)
        return self(value)

    def _number(self, found: re.Match[str]) -> str:
        return self._ids.setdefault(found[0], f"<id {len(self._ids)}>")


def outcome(scenario: Callable[[Side], Any], side: Side) -> Any:
    """Run a scenario, and return its normalised value, or the error that it raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            value = scenario(side)
    except Exception as error:
        value = error
    return Normaliser()(value)
