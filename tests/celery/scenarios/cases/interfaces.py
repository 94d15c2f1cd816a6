"""The parameters of public classes, methods and functions, and the names that modules and classes have."""

from __future__ import annotations

import inspect
from typing import Any

from tests.celery.scenarios.library import Library


def _parameters(function: Any) -> Any:
    """The parameters of a function, without annotations."""
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        (each.name, each.kind.name, "" if each.default is each.empty else _default(each.default))
        for each in given
        if each.name != "self"
    ]


def _default(value: Any) -> str:
    return repr(value) if isinstance(value, int | float | str | tuple | list | dict | None) else type(value).__name__


def _methods(kind: Any, names: str) -> Any:
    found = {}
    for name in names.split():
        attribute = inspect.getattr_static(kind, name, None)
        attribute = getattr(attribute, "__func__", attribute)
        found[name] = _parameters(attribute) if callable(attribute) else type(attribute).__name__
    return found


def application(lib: Library) -> Any:
    return _methods(
        lib.Celery,
        "__init__ on_init close start worker_main task register_task gen_task_name finalize add_defaults "
        "config_from_object config_from_envvar config_from_cmdline setup_security autodiscover_tasks send_task "
        "connection connection_for_read connection_for_write connection_or_acquire producer_or_acquire prepare_config "
        "now select_queues either bugreport signature add_periodic_task create_task_cls subclass_with_self set_current "
        "set_default uses_utc_timezone type_checker",
    )


def application_has_all_names(lib: Library) -> Any:
    names = [name for name in dir(__import__("celery").Celery) if not name.startswith("_")]
    return [name for name in names if not hasattr(lib.Celery, name)]


def task(lib: Library) -> Any:
    return _methods(
        lib.Task,
        "run delay apply_async shadow_name signature_from_request retry apply AsyncResult signature s si chunks map "
        "starmap send_event replace add_to_chord update_state before_start on_success on_retry on_failure after_return "
        "on_replace add_trail push_request pop_request bind on_bound annotate add_around start_strategy",
    )


def task_has_all_names(lib: Library) -> Any:
    names = [name for name in dir(__import__("celery").Task) if not name.startswith("_")]
    return [name for name in names if not hasattr(lib.Task, name)]


def context(lib: Library) -> Any:
    context = lib.module("app.task").Context
    theirs = [name for name in dir(__import__("celery").Task.request.fget.__globals__["Context"]) if name[0] != "_"]
    return _methods(context, "__init__ update clear get as_execution_options"), [
        name for name in theirs if not hasattr(context, name)
    ]


def results(lib: Library) -> Any:
    module = lib.module("result")
    return (
        _methods(
            module.AsyncResult,
            "__init__ then as_tuple as_list forget revoke revoke_by_stamped_headers get collect get_leaf iterdeps "
            "ready successful failed throw maybe_throw build_graph",
        ),
        _methods(
            module.ResultSet,
            "__init__ add remove update clear successful failed maybe_throw waiting ready completed_count forget "
            "revoke get join join_native iter_native then",
        ),
        _methods(module.GroupResult, "__init__ save delete as_tuple restore"),
        _methods(module.EagerResult, "__init__ then ready get forget revoke"),
        _parameters(module.result_from_tuple),
    )


def results_have_all_names(lib: Library) -> Any:
    theirs, ours = __import__("celery").result, lib.module("result")
    return {
        kind: [name for name in dir(getattr(theirs, kind)) if name[0] != "_" and not hasattr(getattr(ours, kind), name)]
        for kind in ("AsyncResult", "EagerResult", "GroupResult", "ResultSet")
    }


def signatures(lib: Library) -> Any:
    methods = (
        "apply delay apply_async freeze replace set set_immutable link link_error on_error flatten_links reprcall "
        "from_dict election stamp append_to_list_option extend_list_option"
    )
    return {
        kind: _methods(getattr(lib, kind), methods)
        for kind in ("Signature", "group", "chord", "chain", "chunks", "xmap", "xstarmap")
        if kind not in ("chain", "chord")
    } | {"functions": [_parameters(lib.signature), _parameters(lib.maybe_signature)]}


def signatures_have_all_names(lib: Library) -> Any:
    theirs = __import__("celery")
    return {
        kind: [name for name in dir(getattr(theirs, kind)) if name[0] != "_" and not hasattr(getattr(lib, kind), name)]
        for kind in ("Signature", "group", "chord", "chain", "chunks", "xmap", "xstarmap")
    }


def functions_of_state(lib: Library) -> Any:
    state = lib.module("_state")
    names = ("connect_on_app_finalize", "get_current_app", "get_current_task", "set_default_app")
    return [_parameters(getattr(state, name)) for name in names]


def exceptions(lib: Library) -> Any:
    theirs, ours = __import__("celery.exceptions").exceptions, lib.module("exceptions")
    return [name for name in theirs.__all__ if not hasattr(ours, name)], [
        (name, [each[0] for each in _parameters(getattr(ours, name).__init__)][:5]) for name in ("Retry", "Reject")
    ]


def schedules(lib: Library) -> Any:
    module = lib.module("schedules")
    return {
        kind: _methods(getattr(module, kind), "__init__ is_due remaining_estimate now")
        for kind in ("schedule", "crontab", "solar")
    }


def bases_of_exceptions(lib: Library) -> Any:
    module = lib.module("exceptions")
    names = __import__("celery.exceptions").exceptions.__all__
    return {
        name: [base.__name__ for base in getattr(module, name).__mro__ if base.__module__ == "builtins"]
        for name in names
        if isinstance(getattr(module, name, None), type)
        and name not in ("InvalidTaskError", "SecurityError", "TimeoutError")
    }


def bases_of_exceptions_that_builtin_ones_catch(lib: Library) -> Any:
    module = lib.module("exceptions")
    return [
        issubclass(module.InvalidTaskError, ValueError),
        issubclass(module.SecurityError, ValueError),
        issubclass(module.TimeoutError, TimeoutError),
    ]


def names_of_modules(lib: Library) -> Any:
    paths = (
        "_state app app.annotations app.autoretry app.base app.builtins app.registry app.task app.utils canvas "
        "exceptions local result schedules signals states fixups.django contrib.django.task"
    )
    missing = {}
    for path in paths.split():
        theirs, ours = __import__(f"celery.{path}", fromlist=["x"]), lib.module(path)
        missing[path] = [name for name in getattr(theirs, "__all__", ()) if not hasattr(ours, name)]
    return missing
