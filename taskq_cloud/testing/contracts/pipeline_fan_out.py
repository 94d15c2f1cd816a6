"""Scenarios of the pipeline's contract: groups that are kept in pages and sent by ``taskq.fan_out``."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, Final

from taskq_cloud.core.model import task_names
from taskq_cloud.core.model.message import Embed, Message, Signature
from taskq_cloud.core.model.options import Policy
from taskq_cloud.core.model.task_names import FAN_OUT
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.workflows import group_pages, signatures
from taskq_cloud.core.workflows.group_pages import Page, Paging
from taskq_cloud.core.workflows.stages import TaskStage
from taskq_cloud.testing.contracts.pipeline_scenario import Scenario, told

PAGES_OF_ONE: Final = Policy(fan_out_members=1)
ONE_MEMBER_BYTES: Final = 1_240
"""The largest record in these scenarios: it holds a page of one member and no second one."""


def _signature(task: str, **options: Any) -> Signature:
    return signatures.signature_of(task, options=options)


def _group(*names: str) -> Signature:
    return signatures.signature_of(task_names.GROUP, kwargs={"tasks": [_signature(name) for name in names]})


def _same(*values: Any) -> Any:
    return list(values)


def _five(*_: Any) -> int:
    return 5


def _page(task_id: str) -> Page:
    member = (TaskStage(_signature("member", task_id=f"member of {task_id}")),)
    paging = Paging(over=0, page_bytes=10_000, knows=lambda _: True, route=lambda _: "work")
    (page,) = group_pages.cut(f"of {task_id}", [member], paging)
    return page


def _to_one_page(task_id: str, now: float) -> Message:
    page = _page(task_id)
    errback = _signature("errback", task_id=f"errback of {task_id}")
    body = _signature("body", chord_size=1, chord_ids={"0": f"member of {task_id}"}, link_error=[errback])
    kwargs = {
        "group": page.group,
        "pages": [astuple(page.reference)],
        "chord": body,
        "args": [7],
        "kwargs": {},
        "now": now,
    }
    return Message(task=FAN_OUT, id=task_id, kwargs=kwargs)


def _stored(task_id: str, now: float) -> Record:
    return _page(task_id).record(now)


def _altered(task_id: str, now: float) -> Record:
    page = _page(task_id)
    return Page(page.group, page.reference, page.text.replace("member", "another")).record(now)


FAN_OUTS: Final = [
    Scenario(
        name="is followed by a group that is sent page by page",
        functions={"main": _five, "one": _same, "two": _same},
        embed=Embed(chain=[_group("one", "two")]),
        policy=PAGES_OF_ONE,
        largest_record_bytes=ONE_MEMBER_BYTES,
        states={
            "main": ("SUCCESS", 5),
            f"{FAN_OUT} 0,1": None,
            f"{FAN_OUT} 0": None,
            f"{FAN_OUT} 1": None,
            "one": ("SUCCESS", [5]),
            "two": ("SUCCESS", [5]),
        },
        effects=("run", "save:SUCCESS", "save:PENDING", "save:PENDING", f"send:{FAN_OUT}", "settle:Acknowledge"),
    ),
    Scenario(
        name="is a page of a group",
        functions={"member": _same, "body": _same},
        make=_to_one_page,
        stored=_stored,
        states={f"{FAN_OUT} 0": None, "member": ("SUCCESS", [7]), "body": ("SUCCESS", [[[7]]])},
        effects=("send:member", "save:SUCCESS", "settle:Acknowledge"),
    ),
    Scenario(
        name="is a page of a group whose record is gone",
        functions={"member": _same, "body": _same, "errback": told},
        make=_to_one_page,
        states={f"{FAN_OUT} 0": None, "errback": ("SUCCESS", 5)},
        effects=(
            "save:FAILURE",
            "join:complete",
            "claim",
            "save:FAILURE",
            "send:errback",
            "save:PENDING",
            "settle:DeadLetter",
        ),
        dead_letters=("DecodeError: members 0 to 0 of group .* their record .* is gone from the result store",),
    ),
    Scenario(
        name="is a page of a group whose record was altered",
        functions={"member": _same, "another": _same, "body": _same, "errback": told},
        make=_to_one_page,
        stored=_altered,
        states={f"{FAN_OUT} 0": None, "errback": ("SUCCESS", 5)},
        effects=(
            "save:FAILURE",
            "join:complete",
            "claim",
            "save:FAILURE",
            "send:errback",
            "save:PENDING",
            "settle:DeadLetter",
        ),
        dead_letters=("DecodeError: the stored page .* has been altered",),
    ),
    Scenario(
        name="names no pages",
        functions={},
        make=lambda task_id, _now: Message(task=FAN_OUT, id=task_id, kwargs={"pages": []}),
        states={f"{FAN_OUT} ?": None},
        effects=("settle:DeadLetter",),
        dead_letters=("InvalidTaskError: task taskq.fan_out: its arguments don't name pages",),
    ),
]
