"""The remote control commands of a worker.

Workers take no commands from other processes yet. Those that a worker answers in its own process have functions in
``answers``; the others have a name and a help text, which the command line shows.
"""

from __future__ import annotations

from taskq_cloud.celery.worker.answers import (
    active_queues,
    clock,
    conf,
    memdump,
    memsample,
    ping,
    registered,
    report,
    stats,
)
from taskq_cloud.celery.worker.panel import Panel, control_command, controller_info_t, inspect_command, nok, ok

__all__ = (
    "Panel",
    "active_queues",
    "clock",
    "conf",
    "control_command",
    "inspect_command",
    "memdump",
    "memsample",
    "nok",
    "ok",
    "ping",
    "registered",
    "report",
    "stats",
)

_TASK_IDS = "[id1 [id2 [... [idN]]]]"

for _name, _type, _help, _signature, _args, _variadic in (
    ("active", "inspect", "List of tasks currently being executed.", None, None, None),
    (
        "objgraph",
        "inspect",
        "Draw the objects that are in memory.",
        "[object_type=Request] [num=200 [max_depth=10]]",
        [("type", str), ("num", int), ("max_depth", int)],
        None,
    ),
    ("query_task", "inspect", "Ask for tasks by their ids.", _TASK_IDS, None, "ids"),
    ("reserved", "inspect", "List tasks that wait in a worker.", None, None, None),
    ("revoked", "inspect", "List the ids of revoked tasks.", None, None, None),
    ("scheduled", "inspect", "List tasks with an eta or a countdown.", None, None, None),
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
