"""The names of remote control commands, and the decorators by which a project declares its own.

Workers take no commands yet. So the commands have no functions here, and those of a project are kept but never called.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

__all__ = ("Panel", "control_command", "inspect_command")


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


def control_command(**kwargs: Any) -> Any:
    """Declare a command that changes a worker."""
    return Panel.register(type="control", **kwargs)


def inspect_command(**kwargs: Any) -> Any:
    """Declare a command that asks a worker."""
    return Panel.register(type="inspect", **kwargs)


_TASK_IDS = "[id1 [id2 [... [idN]]]]"

for _name, _type, _help, _signature, _args, _variadic in (
    ("active", "inspect", "List of tasks currently being executed.", None, None, None),
    ("active_queues", "inspect", "List the queues that a worker serves.", None, None, None),
    ("clock", "inspect", "Get the logical clock.", None, None, None),
    ("conf", "inspect", "List the configuration.", "[include_defaults=False]", [("with_defaults", bool)], None),
    ("memdump", "inspect", "Print the samples of the memory.", "[n_samples=10]", [("samples", int)], None),
    ("memsample", "inspect", "Sample the memory.", None, None, None),
    (
        "objgraph",
        "inspect",
        "Draw the objects that are in memory.",
        "[object_type=Request] [num=200 [max_depth=10]]",
        [("type", str), ("num", int), ("max_depth", int)],
        None,
    ),
    ("ping", "inspect", "Ping workers.", None, None, None),
    ("query_task", "inspect", "Ask for tasks by their ids.", _TASK_IDS, None, "ids"),
    ("registered", "inspect", "List the registered tasks.", "[attr1 [attr2 [... [attrN]]]]", None, "taskinfoitems"),
    ("report", "inspect", "Facts for the report of a bug.", None, None, None),
    ("reserved", "inspect", "List tasks that wait in a worker.", None, None, None),
    ("revoked", "inspect", "List the ids of revoked tasks.", None, None, None),
    ("scheduled", "inspect", "List tasks with an eta or a countdown.", None, None, None),
    ("stats", "inspect", "Statistics of workers.", None, None, None),
    (
        "add_consumer",
        "control",
        "Let workers serve a queue.",
        "<queue> [exchange [type [routing_key]]]",
        [("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
        None,
    ),
    ("autoscale", "control", "Change the limits of autoscaling.", "[max [min]]", [("max", int), ("min", int)], None),
    ("cancel_consumer", "control", "Let workers leave a queue.", "<queue>", [("queue", str)], None),
    ("disable_events", "control", "Send no events of tasks.", None, None, None),
    ("election", "control", "Hold an election.", None, None, None),
    ("enable_events", "control", "Send events of tasks.", None, None, None),
    ("heartbeat", "control", "Send a heartbeat.", None, None, None),
    ("pool_grow", "control", "Add to the pool.", "[N=1]", [("n", int)], None),
    ("pool_restart", "control", "Restart the pool.", None, None, None),
    ("pool_shrink", "control", "Take from the pool.", "[N=1]", [("n", int)], None),
    (
        "rate_limit",
        "control",
        "Change the rate limit of a task.",
        "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
        [("task_name", str), ("rate_limit", str)],
        None,
    ),
    ("revoke", "control", "Revoke tasks by their ids.", _TASK_IDS, None, "task_id"),
    (
        "revoke_by_stamped_headers",
        "control",
        "Revoke tasks by stamped headers.",
        "[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
        None,
        "headers",
    ),
    ("shutdown", "control", "Shut workers down.", None, None, None),
    ("terminate", "control", "End tasks by their ids.", f"<signal> {_TASK_IDS}", [("signal", str)], "task_id"),
    (
        "time_limit",
        "control",
        "Change the time limits of a task.",
        "<task_name> <soft_secs> [hard_secs]",
        [("task_name", str), ("soft", float), ("hard", float)],
        None,
    ),
):
    Panel.meta[_name] = controller_info_t(
        alias=None,
        type=_type,
        visible=True,
        default_timeout=1.0,
        help=_help,
        signature=_signature,
        args=_args,
        variadic=_variadic,
    )
