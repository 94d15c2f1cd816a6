"""Large groups: their pages, callers that die while they start one, and a chord of a hundred thousand members."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.core.execution import consequences
from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow, run
from taskq_cloud.core.messages import protocol, sending
from taskq_cloud.core.model.message import Delivery, Embed, Message, Outgoing, Refused, Sent
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.model.task_names import FAN_OUT
from taskq_cloud.core.records.record import FAILURE, SUCCESS
from taskq_cloud.core.workflows import group_pages, planner
from taskq_cloud.core.workflows.group_pages import PAGE_MEMBERS, Page, PageReference, Paging
from taskq_cloud.core.workflows.planner import Origin
from taskq_cloud.core.workflows.signatures import signature_of
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage
from taskq_cloud.errors import DecodeError, PayloadTooLarge, SendError
from taskq_cloud.stores.results.disabled import DisabledResults
from taskq_cloud.testing.bench import Bench
from tests import arithmetic
from tests.chaos import serve

PAGING = Paging(over=0, page_bytes=3000, knows=lambda task: task == "known", route=lambda task: f"{task}s")
ORIGIN = Origin(now=0, paging=PAGING)


def member(number: int, *args: Any, task: str = "known", **options: Any) -> tuple[TaskStage]:
    return (TaskStage(signature_of(task, args=args, options={"task_id": f"member {number}", **options})),)


def make_app(over: int = 1000, **settings: Any) -> TaskQ:
    return arithmetic.make_app("large", task_fan_out_members=over, **settings)


# -- pages


@given(st.lists(st.text(max_size=600), max_size=30))
def test_pages_hold_all_members_in_order_within_the_size_limit(texts: list[str]) -> None:
    members = [member(number, text) for number, text in enumerate(texts)]
    cut = list(group_pages.cut("g", members, PAGING))

    found = [each for page in cut for each in group_pages.read(page.record(0), "g", page.reference)]
    assert found == [each.signature for (each,) in members]
    assert all(len(page.record(0).payload.encode()) <= PAGING.page_bytes for page in cut)
    assert [page.reference.first for page in cut] == [
        sum(page.reference.size for page in cut[:i]) for i in range(len(cut))
    ]


def test_page_has_at_most_the_largest_number_of_members() -> None:
    members = [member(number) for number in range(2 * PAGE_MEMBERS + 1)]
    cut = group_pages.cut("g", members, replace(PAGING, page_bytes=10**9))
    assert [page.reference.size for page in cut] == [PAGE_MEMBERS, PAGE_MEMBERS, 1]


def test_member_too_large_for_a_page_is_named() -> None:
    with pytest.raises(PayloadTooLarge, match=r"member 1 of group g is \d+ bytes, and the result store takes at most"):
        list(group_pages.cut("g", [member(0), member(1, "x" * 3000)], PAGING))


def test_altered_or_missing_page_is_not_read() -> None:
    (page,) = group_pages.cut("g", [member(0)], PAGING)
    (other,) = group_pages.cut("g", [member(1)], PAGING)
    with pytest.raises(DecodeError, match="it has been altered"):
        group_pages.read(other.record(0), "g", page.reference)
    with pytest.raises(DecodeError, match=r"members 0 to 0 of group g can't be sent: their record .* is gone"):
        group_pages.read(None, "g", page.reference)


# -- groups that start with pages


def test_large_group_starts_with_one_message_to_its_members_queue() -> None:
    (one,) = planner.start((GroupStage((member(0), member(1)), "g"),), (), {}, ORIGIN)
    assert (one.message.task, one.queue, one.ids) == (FAN_OUT, "knowns", ["member 0", "member 1"])
    (elsewhere,) = planner.start((GroupStage((member(0, queue="slow"), member(1)), "g"),), (), {}, ORIGIN)
    assert elsewhere.queue == "slow"


def test_planning_twice_makes_equal_messages_and_pages() -> None:
    stages = (GroupStage(tuple(member(number, "x" * 500) for number in range(9)), "g"),)
    (one,), (again,) = (planner.start(stages, (), {}, Origin(now=now, paging=PAGING)) for now in (0, 60))
    assert (one.message.id, one.pages) == (again.message.id, again.pages)
    assert len(one.pages) > 1


def test_group_of_tasks_that_may_be_celerys_is_sent_at_once() -> None:
    foreign = (member(0, task="theirs"), member(1, task="theirs"))
    assert [each.message.task for each in planner.start((GroupStage(foreign, "g"),), (), {}, ORIGIN)] == ["theirs"] * 2
    ours_to_join = (GroupStage(foreign, "g"), *member(2))
    assert [each.message.task for each in planner.start(ours_to_join, (), {}, ORIGIN)] == [FAN_OUT]


def test_group_with_arguments_beyond_json_is_sent_at_once() -> None:
    stages = (GroupStage((member(0, object()), member(1)), "g"),)
    assert len(list(planner.start(stages, (), {}, ORIGIN))) == 2


@pytest.mark.parametrize("over", [0, 3])
def test_setting_decides_which_groups_are_large(over: int) -> None:
    app = make_app(over)
    bench = Bench.of(app)
    result = group(app.tasks["double"].s(number) for number in range(3)).delay()
    assert bench.left() == 3
    serve(bench)
    assert result.get(timeout=1) == [0, 2, 4]


def test_caller_gets_error_of_a_member_too_large_to_be_sent() -> None:
    app = make_app(1)
    bench = Bench.of(app)
    double = app.tasks["double"]
    vars(app.broker)["capabilities"] = replace(app.broker.capabilities, largest_message_bytes=20_000)
    with pytest.raises(PayloadTooLarge, match="task double"):
        chord([double.s(1), double.s("x" * 30_000)], app.tasks["total"].s()).delay()
    assert bench.left() == 0


def test_caller_without_result_store_gets_error_of_unsent_members() -> None:
    app = make_app(1)
    bench = Bench.of(app, store=DisabledResults())
    double = app.tasks["double"]
    send = app.broker.send

    def losing(queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        answers = yield from send(queue, messages)
        return [Refused(ConnectionError("cut")) if i == 1 else answer for i, answer in enumerate(answers)]

    vars(app.broker)["send"] = losing
    with pytest.raises(
        SendError, match="1 of the first 3 messages of a workflow were not accepted; the first: cut"
    ) as caught:
        group(double.s(number) for number in range(3)).delay()
    assert caught.value.failures.keys() == {1}
    del vars(app.broker)["send"]
    serve(bench)


# -- callers that die


class Dies(BaseException):
    pass


def dying(call: Callable[..., Flow[Any]], after: int) -> Callable[..., Flow[Any]]:
    """Wrap a call: it works ``after`` times, and then the caller dies before it gets the answer."""
    left = [after]

    def flow(*args: Any) -> Flow[Any]:
        answer = yield from call(*args)
        left[0] -= 1
        if left[0] < 0:
            raise Dies
        return answer

    return flow


@pytest.mark.parametrize("as_chord", [True, False])
@pytest.mark.parametrize(("saves", "runs"), [(0, 0), (1, 0), (2, 0), (99, 5)])
def test_caller_that_dies_has_started_all_members_or_none(
    as_chord: bool, saves: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_pages, "PAGE_MEMBERS", 2)
    monkeypatch.setattr(sending, "RECORDS_AT_ONCE", 1)
    app = make_app(1, task_track_workflows=False)
    bench = Bench.of(app)
    double, total = app.tasks["double"], app.tasks["total"]
    members = [double.s(number) for number in range(5)]
    workflow = chord(members, total.s()) if as_chord else group(members)
    with monkeypatch.context() as patch:
        patch.setattr(app.store, "save", dying(app.store.save, saves))
        patch.setattr(app.broker, "send", dying(app.broker.send, 0))
        with pytest.raises(Dies):
            workflow.delay()
    chaos = serve(bench, 0.2, random.Random(saves))
    assert bool(chaos.runs) == bool(runs)
    store: Any = app.store
    states = list(store._entries.records.values())
    done = [each for each in states if each.state == SUCCESS and not each.id.startswith(FAN_OUT)]
    assert len(done) == runs + (as_chord and runs > 0)


# -- the worker


def test_redelivered_page_sends_nothing_twice(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(1)
    bench = Bench.of(app)
    chord([app.tasks["double"].s(number) for number in range(5)], app.tasks["total"].s()).delay()
    (message,) = app.run(app.broker.receive("celery", 1, 0, 30))
    caplog.set_level(logging.INFO, "taskq_cloud.execution")
    first = serve(bench)  # the lease runs out, and the message is delivered again
    assert first.runs == 6
    app.run(app.broker.send("celery", [Outgoing(body=message.body)]))
    again = serve(bench)
    assert again.runs == 0
    assert "fan_out.already_sent" in {vars(record)["action"] for record in caplog.records}


def test_member_that_can_not_be_sent_fails_the_chord_with_its_error() -> None:
    app = make_app(1)
    bench = Bench.of(app)
    double, total = app.tasks["double"], app.tasks["total"]
    too_late = chain(double.si(1), group(double.si(10**40), double.si(2).set(countdown=10**6)) | total.s())
    vars(app.broker)["capabilities"] = replace(
        app.broker.capabilities, longest_delay_seconds=0, longest_parking_seconds=1000, beyond_parking="more"
    )
    result: Any = too_late.delay()
    serve(bench)
    assert result.state == "FAILURE"
    assert "raised DelayTooLong" in str(result.result)


@pytest.fixture(scope="module")
def hundred_thousand() -> Stages:
    members = tuple((TaskStage(signature_of("double", args=[number])),) for number in range(100_000))
    return planner.with_ids((GroupStage(members), TaskStage(signature_of("total"))), "last")


@pytest.mark.slow
def test_hundred_thousand_members_fit_in_a_hundred_pages_and_one_message(hundred_thousand: Stages) -> None:
    paging = replace(PAGING, page_bytes=group_pages.PAGE_BYTES)
    (one,) = planner.start(hundred_thousand, (), {}, replace(ORIGIN, paging=paging))
    assert len(one.pages) == 100
    assert sum(page.reference.size for page in one.pages if isinstance(page, Page)) == 100_000
    assert len(protocol.encode(one.message, "work")) < 16_000
    assert len(one.ids) == 1000


@pytest.mark.slow
def test_hundred_thousand_members_are_joined_by_one_call_each_on_two_levels(hundred_thousand: Stages) -> None:
    app = make_app()
    bench = Bench.of(app)
    join, done = app.store.join, ErrorInfo("ValueError", ["first"], "builtins")
    joined: Counter[str] = Counter()

    def counting(join_id: str, *args: Any) -> Flow[bool]:
        joined[join_id] += 1
        return join(join_id, *args)

    def no_call(step: Any) -> None:
        raise AssertionError(f"nothing is called, but {step!r} was yielded")

    vars(app.store)["join"] = counting
    delivery = Delivery(queue="celery", message_id="1", receipt="1", body="")
    group_id = hundred_thousand[0].id
    assert group_id is not None
    # The first member has failed, so that completing the chord reads only one page of results.
    chord_of_all = next(planner.start(hundred_thousand, (), {}, Origin(now=0))).message.embed.chord
    order = [*range(100_000)]
    random.Random(1).shuffle(order)
    for index in order:
        message = Message(
            task="double",
            id=planner.member_id(group_id, index),
            group=group_id,
            group_index=index,
            embed=Embed(chord=chord_of_all),
        )
        context = DeliveryContext(bench.environment, delivery, message, TaskOptions())
        run(consequences.end_in_chord(context, FAILURE, done), no_call)
    largest = max(joined.values())
    assert sum(joined.values()) == 100_000 + 500
    assert joined[group_id] == 500
    assert largest == 500
    assert app.AsyncResult("last").state == "FAILURE"


# -- hostile messages


def fan_out_message(**changes: Any) -> Message:
    pages = [[0, 1, "0" * 64]]
    kwargs: dict[str, Any] = {"group": "g", "pages": pages, "chord": None, "args": [], "kwargs": {}, "now": 0}
    return Message(task=FAN_OUT, id="f", kwargs={**kwargs, **changes})


CHORD = {"task": "total", "options": {"chord_size": 1, "task_id": "body"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pages": [[0, 10**9, "0" * 64]]}, "don't name pages"),
        ({"pages": [[0, PAGE_MEMBERS + 1, "0" * 64]]}, "don't name pages"),
        ({"pages": [[10**30, 1, "0" * 64]]}, "don't name pages"),
        ({"pages": [[0, 1, ""]]}, "don't name pages"),
        ({"pages": [[0, 1, "0" * 64]] * 3}, "don't follow each other"),
        ({"pages": [[0, 2, "0" * 64], [3, 1, "0" * 64]]}, "don't follow each other"),
        ({"pages": [[0, 2, "0" * 64]], "chord": CHORD}, "isn't a place in a chord"),
        ({"now": float("nan")}, "don't name pages"),
        ({"now": 1e300}, "don't name pages"),
        ({"pages": [[n, 1, "0" * 64] for n in range(1000)], "args": ["x" * 40_000]}, "at most 33554432 are sent"),
        ({"pages": [[0, PAGE_MEMBERS, "0" * 64]], "kwargs": {"x": "x" * 40_000}}, "at most 33554432 are sent"),
    ],
)
def test_fan_out_that_no_group_leads_to_writes_nothing(changes: Any, words: str) -> None:
    bench = Bench.of(make_app())
    bench.send(fan_out_message(**changes))
    bench.work()
    (dead,) = bench.dead_letters()
    assert words in dead.attributes["dead_letter_reason"]
    assert bench.left() == 0
    assert bench.states("f", *(planner.member_id("g", index) for index in range(3))) == [None] * 4


def test_missing_page_fails_its_members_only() -> None:
    bench = Bench.of(make_app())
    bench.send(fan_out_message(pages=[[0, 3, "0" * 64]]))
    bench.work()
    assert bench.states(*(planner.member_id("g", index) for index in range(4))) == [FAILURE] * 3 + [None]


def store_page(bench: Bench, members: Any, size: int) -> Message:
    """Store a page as its sender or an attacker does; returns the message that names it."""
    text = json.dumps(members)
    page = Page("g", PageReference(0, size, hashlib.sha256(text.encode()).hexdigest()), text)
    bench.run(bench.store.save([page.record(bench.clock())]))
    return fan_out_message(pages=[[*astuple(page.reference)]])


LEAF = {"task": "double", "args": [1], "options": {"task_id": "leaf"}}


@pytest.mark.parametrize(
    ("members", "size"),
    [([LEAF] * 1000, 1), ([LEAF] * 1001, PAGE_MEMBERS), ([LEAF] * 2, PAGE_MEMBERS), ([], 1), ({"0": LEAF}, 1), (7, 1)],
    ids=["more", "more than any page", "fewer", "none", "object", "number"],
)
def test_page_of_another_size_than_its_message_names_is_refused(members: Any, size: int) -> None:
    bench = Bench.of(make_app())
    bench.send(store_page(bench, members, size))
    bench.work()
    (dead,) = bench.dead_letters()
    assert f"doesn't have the {size} members" in dead.attributes["dead_letter_reason"]
    assert bench.left() == 0
    assert bench.states(*(planner.member_id("g", index) for index in range(size))) == [FAILURE] * size


@pytest.mark.parametrize("place", ["chord", "chain", "link"])
def test_page_whose_members_lead_to_far_more_than_it_has_is_refused(place: str) -> None:
    bench = Bench.of(make_app())
    header: list[Any] = [{"task": "double", "args": [n], "options": {"task_id": f"m{n}"}} for n in range(500)]
    large: Any = {"task": "total", "args": ["x" * 100_000], "options": {"task_id": "body"}}
    group_of_all: Any = {"task": "celery.group", "kwargs": {"tasks": header}}
    member: Any = {"task": "celery.chord", "kwargs": {"header": header, "body": large}}
    if place == "chain":
        member = {"task": "celery.chain", "kwargs": {"tasks": [group_of_all, large]}}
    elif place == "link":
        member = {**group_of_all, "options": {"link_error": [large]}}
    bench.send(store_page(bench, [member], 1))
    bench.work()
    assert [each.attributes["dead_letter_reason"][:15] for each in bench.dead_letters()] == ["PayloadTooLarge"]
    assert bench.left() == 0


def test_group_whose_members_would_carry_too_much_is_refused_at_the_call() -> None:
    app = make_app(10)
    bench = Bench.of(app)
    body = app.tasks["total"].s().set(headers={"note": "x" * 40_000})
    with pytest.raises(PayloadTooLarge, match=r"1000 messages of group .* would each carry \d+ bytes .*: store large"):
        chord([app.tasks["double"].s(number) for number in range(1000)], body).delay()
    assert bench.left() == 0


def test_task_whose_successors_would_be_too_large_together_fails() -> None:
    bench = Bench.of(make_app())
    header = [{"task": "double", "args": [number], "options": {"task_id": f"m{number}"}} for number in range(1000)]
    body = {"task": "total", "kwargs": {"note": "x" * 40_000}}
    following = {"task": "celery.chord", "kwargs": {"header": header, "body": body}, "immutable": True}
    bench.send(Message(task="double", id="t", args=[1], embed=Embed(chain=[following])))
    (delivery,) = bench.receive()
    bench.deliver(delivery)
    assert bench.states("t") == [FAILURE]
    assert bench.left() == 0
