"""Storing the results of eager calls, with ``task_store_eager_result``."""

from __future__ import annotations

from taskq_cloud.core import serializers
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.options import first_given, ignores_result
from taskq_cloud.core.records.document import RunDetails
from taskq_cloud.core.records.record import FAILURE, SUCCESS, Record, version_of
from taskq_cloud.results.state import TaskState
from taskq_cloud.runtime.protocols import Application


def is_stored(app: Application, message: Message) -> bool:
    """Whether the results of a task's eager calls are stored at all."""
    stores = first_given(app.options_of(message.task).store_eager_result, app.conf.task_store_eager_result)
    return bool(stores) and app.store.capabilities.keeps_records


def details(app: Application) -> RunDetails:
    """The parts of a result document that only the run of a task knows."""
    if not app.conf.result_extended:
        return RunDetails()
    import socket  # few eager runs tell where they were

    return RunDetails(worker=socket.gethostname(), extended=True)


def store(app: Application, message: Message, state: TaskState) -> None:
    """Store the state in which a task has ended, unless its result is ignored.

    Raises:
        EncodeError: the value can't be stored.
        OperationalError: the store can't be used.
        PayloadTooLarge: the store doesn't take the result.
    """
    options, conf = app.options_of(message.task), app.conf
    keeps_errors = first_given(options.store_errors_even_if_ignored, conf.task_store_errors_even_if_ignored)
    ignored = ignores_result(message.ignore_result, options, conf.task_ignore_result)
    if not state.ready or (ignored and not (state.state == FAILURE and keeps_errors)):
        return
    # The value of a task that keeps it as it is isn't in the document.
    value = {"result": state.result} if state.state == SUCCESS else {}
    record = Record(
        id=message.id,
        state=state.state,
        version=version_of(state.state, message.attempt),
        payload=serializers.dumps({**state.document, **value}),
        expires_at=app.result_expires_at(),
    )
    app.run(app.store.save([record]))
