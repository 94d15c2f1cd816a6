"""The scenarios whose outcomes differ between Celery and ``taskq_cloud.celery``, each with the reason.

A test fails if a difference that is listed here has vanished.
"""

from typing import Final

_ONE_ROOT: Final = (
    "In a workflow that begins with a group, the first task is the root of all; in Celery each of them is its own root."
)
_NO_CONSTRUCTOR: Final = (
    "An exception is made anew without its class's constructor, which a store's contents must not be able to call. It "
    "has its arguments and its text, but not the attributes that the constructor sets."
)

DIFFERENCES: Final[dict[str, str]] = {
    "applications.address_of_connection": "An address is shown as it was written, without an invented host or user.",
    "applications.backend_can_be_set": "app.backend can be set; in Celery that is an AttributeError.",
    "calls.naive_times": "A naive time is written with its zone; Celery writes it without, and workers add the zone.",
    "eager.callbacks_of_apply": "apply() runs callbacks in place; Celery sends them to workers.",
    "eager.coroutine_tasks": "Coroutine functions are run; Celery returns the coroutine, which nothing awaits.",
    "errors_on_worker.exception_groups": "An exception group comes back as one; from Celery as an Exception.",
    "errors_on_worker.exceptions_of_local_classes": (
        "An exception whose class the reader doesn't have is a RemoteError with the class's full name."
    ),
    "interfaces.bases_of_exceptions_that_builtin_ones_catch": (
        "TimeoutError, SecurityError and InvalidTaskError are caught by the builtin TimeoutError and ValueError, too."
    ),
    "nested_in_place.replaced_task_that_is_always_eager": (
        "A task may be replaced under task_always_eager; in Celery, get() within a task forbids it."
    ),
    "nested_on_worker.workflow_8": (
        "A group after a group gets the values of all its members; Celery loses some where the groups are nested."
    ),
    "processes.task_that_exits": (
        "A message whose process died is delivered again until its receives run out; Celery gives it up at once."
    ),
    "retrying.exception_info_after_return": "after_return gets the einfo that Celery documents; Celery passes None.",
    "retrying.in_place_that_throws": (
        "apply(throw=True) retries a task, and raises the exception in which it ends; Celery raises the first Retry."
    ),
    "retrying.pushed_request_from_unknown_exchange": (
        "An exchange that no declared queue is bound to is an error; Celery declares exchanges when it sends."
    ),
    "retrying.representation_of_retry": "repr(Retry) is that of an exception; Celery's contains itself.",
    "settings_on_worker.exceptions_by_pickle": _NO_CONSTRUCTOR,
    "settings_on_worker.soft_time_limit_in_threads": "Threads have soft time limits; Celery's have none.",
    "settings_on_worker.values_by_pickle": (
        "Values are stored as JSON, with times, decimals and the like; result_serializer doesn't change that."
    ),
    "state_and_proxies.representation_of_proxy_without_object": (
        "A proxy whose object is missing is shown as unbound; in Celery its repr() raises."
    ),
    "tasks_on_worker.address_for_replies": "Messages have no address for replies: values are in the result store.",
    "tasks_on_worker.attributes_of_custom_exceptions": _NO_CONSTRUCTOR,
    "tasks_on_worker.state_of_unknown_task": (
        "A message whose task is unknown is delivered again, as another worker may know it, until it is a dead letter; "
        "in Celery the task has failed."
    ),
    "tasks_on_worker.waiting_within_task": (
        "result.get() within a task is an error everywhere; in Celery's solo and threads pools it may wait for ever."
    ),
    "workflows_on_worker.children_of_task": (
        "A group that a task calls is recorded as its members; in Celery as one GroupResult."
    ),
    "workflows_on_worker.chord_that_fails_within_chord": (
        "The failure of a chord within a chord's header ends the outer chord; in Celery the outer one stays PENDING."
    ),
    "workflows_on_worker.ids_of_chord": "A chord's body has no group; in Celery it has that of the header.",
    "workflows_on_worker.ids_of_chord_alone": _ONE_ROOT,
    "workflows_on_worker.ids_of_group": _ONE_ROOT,
    "workflows_on_worker.replaced_task_keeps_its_id": (
        "A replacement has the parent of the task that it replaces; in Celery it is its own parent."
    ),
    "workflows_on_worker.tasks_added_to_chord": "add_to_chord works with every store; in Celery with Redis only.",
}
