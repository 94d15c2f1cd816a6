"""The body of a chord: its links, and the application that header and body belong to."""

from __future__ import annotations

import warnings
from typing import Any

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.canvas import kinds
from taskq_cloud.celery.canvas.building import clone_with_members, maybe_signature
from taskq_cloud.celery.exceptions import CPendingDeprecationWarning
from taskq_cloud.celery.utils.functional import maybe_list


def with_links(body: Any, options: dict[str, Any]) -> Any:
    """Add callbacks and errbacks to the body of a chord that is being sent.

    Args:
        body: the body, which stays as it is: a copy gets the links.
        options: the options of the chord; ``link`` and ``link_error`` are taken out of them.
    """
    callbacks, errbacks = (maybe_list(options.pop(name, None)) or [] for name in ("link", "link_error"))
    if not callbacks and not errbacks:
        return body
    body = clone_with_members(body)
    app = kinds.own_app(body)
    for callback in callbacks:
        copy = clone_with_members(maybe_signature(callback, app=app))
        if kinds.is_empty_group(body):
            body.append_to_list_option("link", copy)
        else:
            body.link(copy)
    for errback in errbacks:
        if kinds.is_group(body):
            _link_error_to_tasks(body, maybe_signature(errback, app=app), runs_as_group=True)
        else:
            # Where the header fails, the errbacks of the body are those among its own options.
            body.append_to_list_option("link_error", errback)
    return body


def _link_error_to_tasks(sig: Any, errback: Any, *, runs_as_group: bool) -> None:
    """Add an errback to the tasks of a group that is a chord's body, and to the bodies of chords in it.

    A group that has errbacks of its own gets it there, since those replace its tasks' errbacks when the group runs. A
    group inside a group doesn't: it is taken apart before, and its options are lost.
    """
    if kinds.is_group(sig):
        if runs_as_group and sig.options.get("link_error") is not None:
            sig.append_to_list_option("link_error", errback.clone())
            return
        for task in sig.tasks:
            _link_error_to_tasks(task, errback, runs_as_group=False)
    elif kinds.is_chord(sig):
        _link_error_to_tasks(sig.body, errback, runs_as_group=True)
    else:
        sig.link_error(errback.clone())


def app_of(task: Any) -> Any:
    """Return the application of a task; None if that is only the current application, for want of another."""
    app = kinds.own_app(task)
    if app is not None:
        return app
    try:
        app = task.app
    except AttributeError:  # a chain or a group whose first task is still a dict
        return None
    return None if app is current_app else app


def warn_of_errbacks_without_header() -> None:
    """Give Celery's warning of a default that will change."""
    warnings.warn(
        "task_allow_error_cb_on_chord_header=False is pending deprecation in a future release of Celery.\n"
        "Please test the new behavior by setting task_allow_error_cb_on_chord_header to True and report any concerns "
        "you might have in our issue tracker before we make a final decision regarding how errbacks should behave when "
        "used with chords.",
        CPendingDeprecationWarning,
        stacklevel=3,
    )


def tell_backend(backend: Any, header: tuple[Any, Any], body: Any, **options: Any) -> None:
    """Tell a backend that a chord is about to be sent, if it wants to know: it has an ``apply_chord`` of its own.

    The methods of this package's backends are not called. They start a chord for callers that send its tasks
    themselves, and the native planner, which sends this one, counts its members by other means.

    Args:
        backend: the backend.
        header: the arguments of the header's result.
        body: the body.
        options: Celery's options of a chord.
    """
    from taskq_cloud.celery.backends.chords import Chords  # few processes start chords
    from taskq_cloud.celery.backends.store import StoreBackend

    method = getattr(backend.apply_chord, "__func__", None)
    if method is not Chords.apply_chord and method is not StoreBackend.apply_chord:
        backend.apply_chord(header, body, **options)
