"""The messages of the tasks that follow a task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.model.outcome import ErrorInfo, Retrying
from taskq_cloud.core.workflows import successors
from taskq_cloud.errors import InvalidTaskError

NOW = 1_795_415_075.5
WHY = ErrorInfo("ValueError", ["x"], "builtins")


def parent(**embed: Any) -> Message:
    return Message(task="t", id="parent", args=[1], embed=Embed(**embed))


def signature(task: str = "next", *args: Any, immutable: bool = False, **options: Any) -> dict[str, Any]:
    return {"task": task, "args": args, "kwargs": {"k": 1}, "options": options, "immutable": immutable}


def after(message: Message, value: Any = "value") -> list[Message]:
    return [each.message for each in successors.on_success(message, value, NOW)]


def test_callback_gets_value_before_its_own_arguments() -> None:
    (following,) = after(parent(callbacks=[signature("next", 1, 2)]))
    assert (following.task, following.args, following.kwargs) == ("next", ["value", 1, 2], {"k": 1})
    assert (following.parent_id, following.root_id) == ("parent", "parent")
    assert following.id == derived_id("parent", "callback", 0)


def test_immutable_callback_gets_no_value() -> None:
    (following,) = after(parent(callbacks=[signature("next", 1, immutable=True)]))
    assert following.args == [1]


def test_chain_continues_from_its_end_and_carries_the_rest() -> None:
    third, second = signature("third"), signature("second", task_id="id2")
    (following,) = after(parent(chain=[third, second]))
    assert (following.task, following.id, following.embed.chain) == ("second", "id2", [third])
    (last,) = after(following, "value of second")
    assert (last.task, last.args, last.embed.chain) == ("third", ["value of second"], None)
    assert (last.parent_id, last.root_id) == ("id2", "parent")


def test_failure_sends_task_id_to_errbacks_and_nothing_to_callbacks() -> None:
    message = parent(errbacks=[signature("on_error", 1)], callbacks=[signature()])
    (following,) = [each.message for each in successors.on_failure(message, NOW)]
    assert (following.task, following.args) == ("on_error", ["parent", 1])


def test_ids_of_all_following_tasks_differ() -> None:
    message = parent(callbacks=[signature(), signature()], chain=[signature()], errbacks=[signature(), signature()])
    ids = [each.id for each in after(message)] + [each.message.id for each in successors.on_failure(message, NOW)]
    assert len(set(ids)) == 5


def test_options_of_a_signature_are_in_the_message() -> None:
    options: dict[str, Any] = {
        "queue": "other",
        "countdown": 60,
        "expires": 120.5,
        "time_limit": 30,
        "soft_time_limit": 20,
        "ignore_result": True,
        "priority": 3,
        "reply_to": "replies",
        "group_id": "g",
        "group_index": 2,
        "headers": {"x-tenant": "acme", "id": "HIJACK"},
        "link": [signature("a")],
        "link_error": [signature("b")],
        "chord": signature("c"),
    }
    (following,) = successors.on_success(parent(callbacks=[signature("next", **options)]), 1, NOW)
    message = following.message
    due = datetime.fromtimestamp(NOW, UTC)
    assert following.queue == "other"
    assert (message.eta, message.expires) == (due + timedelta(seconds=60), due + timedelta(seconds=120.5))
    assert message.timelimit == (30, 20)
    assert (message.ignore_result, message.priority, message.reply_to) == (True, 3, "replies")
    assert (message.group, message.group_index) == ("g", 2)
    assert message.headers == {"x-tenant": "acme"}
    assert message.embed == Embed([signature("a")], [signature("b")], None, signature("c"))


@pytest.mark.parametrize("eta", ["2030-01-01T00:00:00+00:00", "2030-01-01T00:00:00", datetime(2030, 1, 1, tzinfo=UTC)])
def test_eta_can_be_text_or_datetime(eta: Any) -> None:
    (following,) = after(parent(callbacks=[signature("next", eta=eta)]))
    assert following.eta == datetime(2030, 1, 1, tzinfo=UTC)


def test_root_id_is_handed_on() -> None:
    message = Message(task="t", id="parent", root_id="root", embed=Embed(callbacks=[signature()]))
    assert after(message)[0].root_id == "root"


def test_retry_has_the_same_id_and_a_later_eta() -> None:
    message = Message(task="t", id="1", args=[1], kwargs={"a": 1}, argsrepr="(1,)", kwargsrepr="{'a': 1}", retries=1)
    again = successors.on_retry(message, Retrying(WHY, 60), NOW)
    assert (again.id, again.retries, again.args, again.argsrepr) == ("1", 2, [1], "(1,)")
    assert again.eta == datetime.fromtimestamp(NOW + 60, UTC)
    assert again.embed is message.embed


def test_immediate_retry_has_no_eta() -> None:
    message = Message(task="t", id="1", eta=datetime(2020, 1, 1, tzinfo=UTC))
    assert successors.on_retry(message, Retrying(WHY, 0), NOW).eta is None


def test_retry_with_new_arguments_drops_their_old_repr() -> None:
    message = Message(task="t", id="1", args=[1], kwargs={"a": 1}, argsrepr="(1,)", kwargsrepr="{'a': 1}")
    again = successors.on_retry(message, Retrying(WHY, 0, args=[2]), NOW)
    assert (again.args, again.argsrepr, again.kwargs, again.kwargsrepr) == ([2], None, {"a": 1}, "{'a': 1}")
    again = successors.on_retry(message, Retrying(WHY, 0, kwargs={}), NOW)
    assert (again.args, again.argsrepr, again.kwargs, again.kwargsrepr) == ([1], "(1,)", {}, None)


@pytest.mark.parametrize(
    "options",
    [
        {"countdown": "soon"},
        {"countdown": 1e300},
        {"eta": "tomorrow"},
        {"expires": []},
        {"queue": 5},
        {"headers": "x"},
        {"headers": [1]},
        {"task_id": "\ud800"},
        "text",
    ],
    ids=repr,
)
def test_unreadable_callback_raises_before_the_run(options: Any) -> None:
    message = parent(callbacks=[{**signature(), "options": options}])
    with pytest.raises(InvalidTaskError, match="task t: a task that follows it can't be read") as caught:
        successors.check(message, NOW)
    assert caught.value.task_id == "parent"
