"""``Task.replace`` and ``Task.add_to_chord`` in requests that were pushed by hand, and what they do to signatures."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock, Mock

from tests.celery.scenarios.library import Library

_REQUEST = {
    "callbacks": [{"task": "cb", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}],
    "errbacks": [{"task": "eb", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}],
    "group": "group-id",
    "group_index": 2,
    "id": "own-id",
    "parent_id": "parent-id",
    "root_id": "root-id",
}


def _tasks(lib: Library) -> Any:
    app = lib.app()
    app.set_current()

    @app.task(shared=False, bind=True, name="proj.task")
    def task(self, *args):
        pass

    @app.task(shared=False, name="proj.other")
    def other(*args):
        return args

    app.finalize()
    return app, task, other


def _replaced(task: Any, sig: Any, **request: Any) -> Any:
    """Replace a task in a request, and give the exception with what ``on_replace`` was called with."""
    task.push_request(**{"called_directly": False, "is_eager": False, **request})
    given: list[Any] = []
    task.on_replace = given.append
    try:
        task.replace(sig)
    except Exception as error:
        return type(error).__name__, str(error)
    finally:
        del task.on_replace
        task.pop_request()
    return given[0]


def _shown(sig: Any) -> Any:
    options = {name: value for name, value in sorted(sig.options.items()) if value is not None}
    tasks = [_shown(each) for each in sig.tasks] if hasattr(sig, "tasks") else None
    return sig.task, sig.args, options, tasks


def by_signature(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    return _shown(_replaced(task, other.s(1), id="own-id", root_id="root-id"))


def by_signature_in_place_in_workflow(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    chord = other.s()
    return _shown(_replaced(task, other.s(1), **_REQUEST, chord=chord))


def by_signature_followed_by_chain(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    chain = [other.s("last"), other.s("next")]
    return _shown(_replaced(task, other.s(1), id="own-id", chain=chain))


def by_group(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    found = _replaced(task, lib.group(other.s(1), other.s(2)), id="own-id")
    return type(found).__name__, found.task, _shown(found.body), len(found.tasks)


def by_chain(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    found = _replaced(task, other.s(1) | other.s(2), **_REQUEST)
    return found.task, [_shown(each) for each in found.tasks], found.options.get("replaced_task_nesting")


def by_chain_that_ends_in_group(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    found = _replaced(task, lib.chain(other.s(1), lib.group(other.s(2), other.s(3))), id="own-id")
    return found.task, [each.task for each in found.tasks]


def by_empty_chain(lib: Library) -> Any:
    _, task, _ = _tasks(lib)
    return _replaced(task, lib.chain(), id="own-id")[:1]


def by_signature_with_chord(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    return _replaced(task, other.s().set(chord=other.s()), id="own-id")


def by_mock(lib: Library) -> Any:
    _, task, _ = _tasks(lib)
    sig = MagicMock(name="signature")
    sig.options = {}
    found = _replaced(task, sig, id="own-id", group="g", group_index=1, root_id="r", chord=None)
    return found is sig, sig.freeze.call_args, sig.set.call_args, sig.link.called, sig.link_error.called


def by_mock_with_callbacks(lib: Library) -> Any:
    _, task, _ = _tasks(lib)
    sig = MagicMock(name="signature")
    sig.options = {}
    _replaced(task, sig, id="own-id", callbacks=["callback"], errbacks=["errback", "another"])
    return sig.link.call_args_list, sig.link_error.call_args_list


def nesting_is_counted(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    return _replaced(task, other.s(1), id="own-id", replaced_task_nesting=3).options["replaced_task_nesting"]


def sent_by_delay(lib: Library) -> Any:
    _, task, _ = _tasks(lib)
    sig = Mock(name="signature", options={})
    sig.tasks = []
    task.push_request(id="own-id", called_directly=False, is_eager=False)
    try:
        return lib.raised(lambda: task.on_replace(sig)), sig.delay.called, sig.apply.called
    finally:
        task.pop_request()


def in_place(lib: Library) -> Any:
    _, task, _ = _tasks(lib)
    sig = Mock(name="signature", options={})
    sig.apply.return_value.get.return_value = 5
    task.push_request(id="own-id", called_directly=False, is_eager=True)
    try:
        return task.on_replace(sig), sig.apply.call_args, sig.delay.called
    finally:
        task.pop_request()


def added_to_chord_outside_of_chords(lib: Library) -> Any:
    _, task, other = _tasks(lib)
    task.push_request(id="own-id", chord=None)
    try:
        return lib.raised(lambda: task.add_to_chord(other.s()))
    finally:
        task.pop_request()


def added_to_chord(lib: Library) -> Any:
    _, task, _ = _tasks(lib)
    task.backend = Mock(name="backend")
    sig = Mock(name="signature")
    task.push_request(id="own-id", chord={"task": "body"}, group="group-id", group_index=3, root_id="root-id")
    try:
        task.add_to_chord(sig, lazy=True)
        lazily = sig.delay.called
        task.add_to_chord(sig)
        return sig.freeze.call_args, sig.set.call_args, lazily, sig.delay.called, task.backend.add_to_chord.call_count
    finally:
        task.pop_request()
