"""The registry of remote control commands, and the decorators by which a project declares its own."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

__all__ = ("Panel", "control_command", "controller_info_t", "inspect_command", "nok", "ok")


F = TypeVar("F", bound=Callable[..., Any])


class controller_info_t(NamedTuple):
    """What is known of a command."""

    alias: str | None
    type: str
    visible: bool
    default_timeout: float
    help: str
    signature: str | None
    args: Any
    variadic: str | None


def ok(value: Any) -> dict[str, Any]:
    """Return a reply of a worker that has done what it was told."""
    return {"ok": value}


def nok(value: Any) -> dict[str, Any]:
    """Return a reply of a worker that can't do what it was told."""
    return {"error": value}


class Panel(UserDict[str, Any]):
    """The commands by name: ``data`` has the functions, ``meta`` what is known of each command."""

    data: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # one registry for all objects, as in Celery
    meta: ClassVar[dict[str, Any]] = {}

    @classmethod
    def register(cls, *args: Any, **kwargs: Any) -> Any:
        """Register a function as a command: ``@Panel.register`` or ``@Panel.register(type="inspect")``."""
        return cls._register(**kwargs)(*args) if args else cls._register(**kwargs)

    @classmethod
    def _register(
        cls,
        name: str | None = None,
        alias: str | None = None,
        type: str = "control",
        visible: bool = True,
        default_timeout: float = 1.0,
        help: str | None = None,
        signature: str | None = None,
        args: Any = None,
        variadic: str | None = None,
    ) -> Callable[[Any], Any]:
        def register(function: Any) -> Any:
            command = name or function.__name__
            text = help or (function.__doc__ or "").strip().split("\n")[0]
            cls.data[command] = function
            cls.meta[command] = controller_info_t(
                alias, type, visible, default_timeout, text, signature, args, variadic
            )
            if alias:
                cls.data[alias] = function
            return function

        return register


def control_command(**kwargs: Any) -> Callable[[F], F]:
    """Declare a command that changes a worker."""
    return Panel._register(type="control", **kwargs)


def inspect_command(**kwargs: Any) -> Callable[[F], F]:
    """Declare a command that asks a worker."""
    return Panel._register(type="inspect", **kwargs)
