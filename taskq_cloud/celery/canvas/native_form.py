"""Writes signatures as the plain dicts that the native planner reads (``plain``).

The tasks that run first are called by their own ``apply_async``, and the group or the chord around them is written with
what these calls would send: see ``native.collecting``. All other tasks are written here.

Ids are fixed by ``freeze`` before anything is written, so the results that a caller holds are those of the tasks that
run. The places of tasks in groups and chords (``group_id``, ``group_index``, ``chord``) are left out: the planner
derives them from the form of the workflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskq_cloud.celery.canvas import kinds
from taskq_cloud.celery.canvas.building import maybe_signature
from taskq_cloud.celery.utils.functional import maybe_list


def group_form(group_id: Any, members: Sequence[dict[str, Any]], *, add_to_parent: bool = True) -> dict[str, Any]:
    """Write a group.

    Args:
        group_id: its id.
        members: its members, as plain dicts.
        add_to_parent: whether the members are children of the task that calls them.
    """
    for each in members if add_to_parent else ():
        each["options"].pop("add_to_parent", None)
    return _form("celery.group", {"tasks": list(members)}, {"task_id": str(group_id)})


def chord_form(header: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Write a chord of a header and a body that are written already."""
    return _form("celery.chord", {"kwargs": {}, "header": header, "body": body}, {})


def plain(sig: Any, app: Any) -> dict[str, Any]:
    """Write a signature of any kind as plain dicts, with the options that the native planner knows.

    Args:
        sig: the signature, or its dict.
        app: the application.
    """
    sig = maybe_signature(sig)
    if kinds.is_chain(sig):
        return _plain_chain(sig, app)
    if kinds.is_group(sig):
        group = sig if sig.header is None else sig.header
        return _form("celery.group", {"tasks": [plain(task, app) for task in group.tasks]}, _plain_options(group, app))
    if kinds.is_chord(sig):
        return _plain_chord(sig, app)
    options = _plain_options(sig, app, _routed(sig, app))
    if options.get("queue") == app.conf.task_default_queue and not (sig.options or {}).get("queue"):
        del options["queue"]  # workers know the default queue, and signatures stay as small as Celery's
    return {
        "task": sig["task"],
        "args": list(sig.args or ()),
        "kwargs": _plain_kwargs(sig, app),
        "options": options,
        "subtask_type": None,
        "immutable": bool(sig.immutable),
    }


def _plain_chain(chain: Any, app: Any) -> dict[str, Any]:
    tasks = [plain(task, app) for task in chain.tasks]
    options = _plain_options(chain, app)
    last = next((task for task in reversed(tasks) if not _is_nothing(task)), None)
    if last is None or last["task"] != "celery.group":
        own_id = None if last is None else last["options"].get("task_id")
    else:
        own_id = chain.id  # a group has its own id, and its members must not all get that of the chain
    if own_id is not None:
        options.pop("task_id", None)
    frozen = getattr(chain, "_frozen", None) is not None  # the first task then has the chain's arguments already
    return {**_form("celery.chain", {"tasks": tasks}, options), "args": [] if frozen else list(chain.args or ())}


def _is_nothing(task: Mapping[str, Any]) -> bool:
    return task["task"] in ("celery.chain", "celery.group") and not task["kwargs"]["tasks"]


def _plain_chord(chord: Any, app: Any) -> dict[str, Any]:
    kwargs, header = chord.kwargs.get("kwargs"), chord.tasks
    tasks = header.tasks if kinds.is_group(header) else header
    members = [plain(maybe_signature(task).clone(kwargs=kwargs) if kwargs else task, app) for task in tasks]
    group = _form("celery.group", {"tasks": members}, _plain_options(header, app) if kinds.is_group(header) else {})
    form = {**chord_form(group, plain(chord.body, app)), "args": list(chord.args or ())}
    return {**form, "options": _plain_options(chord, app)}


def _plain_kwargs(sig: Any, app: Any) -> dict[str, Any]:
    """Write keyword arguments; the items of ``map``, ``starmap`` and ``chunks`` may be a generator."""
    kwargs = dict(sig.kwargs or {})
    if sig["task"] in ("celery.map", "celery.starmap", "celery.chunks"):
        return {**kwargs, "task": plain(kwargs["task"], app), "it": list(kwargs["it"])}
    return kwargs


def _routed(sig: Any, app: Any) -> dict[str, Any]:
    """The options of a task, with those of its route. A worker that sends the task later can't ask the caller's router.

    Options that the task has as attributes are left out: the worker knows the task.
    """
    task, options = dict.get(app._tasks, sig["task"]), {**(sig.options or {})}
    own = {} if task is None else {name: of for name, of in task._get_exec_options().items() if of is not None}
    routed = app.amqp.router.route({**own, **options}, sig["task"], sig.args or (), sig.kwargs or {}, task)
    places = ("queue", "exchange", "routing_key")
    return {name: of for name, of in routed.items() if name in options or name in places or of != own.get(name)}


def _plain_options(sig: Any, app: Any, options: Any = None) -> dict[str, Any]:
    """Write the options of a signature, or these ones in their place."""
    from taskq_cloud.celery.native.calls import native_options  # which writes links by ``plain``

    options = (sig.options or {}) if options is None else options
    found = native_options(app, sig["task"], options)
    for name in ("reply_to", "replaced_task_nesting"):
        if options.get(name) is not None:
            found[name] = options[name]
    if following := maybe_list(options.get("chain")):
        found["chain"] = [plain(each, app) for each in following]
    if stamps := [name for name in options.get("stamped_headers") or () if name in options]:
        found |= {"stamped_headers": stamps, **{name: options[name] for name in stamps}}
    if "task_id" in found:
        found["task_id"] = str(found["task_id"])
    return found


def _form(task: str, kwargs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": task,
        "args": [],
        "kwargs": kwargs,
        "options": options,
        "subtask_type": task.partition(".")[2],
        "immutable": False,
    }
