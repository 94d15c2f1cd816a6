"""Golden messages: bodies of other senders are read as the files say, and ours are written byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from taskq_cloud import errors
from taskq_cloud.core.messages import events, protocol
from taskq_cloud.core.model.message import Embed, Message

GOLDEN = Path(__file__).parents[2] / "golden"
READ = sorted(GOLDEN.glob("read-*.json"))


def read(case: Mapping[str, Any]) -> Message:
    return events.read(case["message_body"], "broker-message-id", case.get("accept", ("json",)), {})


def expected(fields: Mapping[str, Any]) -> Message:
    fields = dict(fields)
    for name in ("eta", "expires"):
        if name in fields:
            fields[name] = datetime.fromisoformat(fields[name])
    if "timelimit" in fields:
        fields["timelimit"] = tuple(fields["timelimit"])
    embed = Embed(**fields.pop("embed", {}))
    return Message(embed=embed, **{"args": [], "kwargs": {}, **fields})


@pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
def test_golden_message_of_another_sender_is_read_as_the_file_says(path: Path) -> None:
    case = json.loads(path.read_text())
    if "error" in case:
        with pytest.raises(errors.DecodeError) as caught:
            read(case)
        assert type(caught.value).__name__ == case["error"]
        assert re.search(case["reason"], str(caught.value))
        assert caught.value.task_id == case.get("task_id")
        return
    message = read(case)
    message = replace(message, args=list(message.args))
    if "args_repr" in case:
        assert repr(message.args) == case["args_repr"]
        message = replace(message, args=[])
    assert message == expected(case["message"])


def signature(task: str, *args: Any, **options: Any) -> dict[str, Any]:
    return {
        "task": task,
        "args": list(args),
        "kwargs": {},
        "options": options,
        "subtask_type": None,
        "immutable": False,
    }


MINIMAL = Message(
    task="proj.tasks.add", id="4cc7438e-afd4-4f8f-a2f3-f46567e7ca77", args=(2, 2), kwargs={}, origin="gen1@host"
)
WRITTEN: dict[str, tuple[Message, dict[str, Any]]] = {
    "minimal": (MINIMAL, {}),
    "options": (
        replace(
            MINIMAL,
            kwargs={"unit": "kg", "who": "Łódź 🎉"},
            retries=2,
            eta=datetime(2026, 11, 23, 6, 0, 54, 843703, UTC),
            expires=datetime(2026, 11, 23, 7, 0, tzinfo=UTC),
            timelimit=(30, 20),
            root_id="root",
            parent_id="parent",
            group="group",
            group_index=1,
            ignore_result=True,
            shadow="nick",
            stamped_headers=["tenant"],
            stamps={"tenant": "acme"},
            priority=5,
            reply_to="replies",
            headers={"x-tenant": "acme"},
            embed=Embed(
                callbacks=[signature("proj.tasks.add", 4)],
                errbacks=[signature("proj.tasks.err")],
                chain=[signature("proj.tasks.last", task_id="t3"), signature("proj.tasks.next", task_id="t2")],
                chord=signature("proj.tasks.tsum", task_id="t4", group_id="group"),
            ),
        ),
        {},
    ),
    "rich-types": (
        replace(
            MINIMAL,
            args=[
                datetime(2026, 1, 1, tzinfo=UTC),
                date(2026, 1, 1),
                time(12, 30),
                Decimal("1.5"),
                UUID(int=1),
                b"abc",
                b"\xff",
            ],
            argsrepr="...",
        ),
        {},
    ),
    "zlib": (MINIMAL, {"compression": "zlib"}),
    "bzip2": (MINIMAL, {"compression": "bzip2"}),
}


# Builds of zlib differ in the bytes they make, so the file with zlib is only read.
@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - {"zlib"}))
def test_message_is_written_as_the_golden_file_byte_for_byte(name: str) -> None:
    message, how = WRITTEN[name]
    assert protocol.encode(message, "celery", **how).encode() == (GOLDEN / f"written-{name}.json").read_bytes()


@pytest.mark.parametrize("name", WRITTEN)
def test_golden_message_of_ours_is_read_as_it_was_written(name: str) -> None:
    text = (GOLDEN / f"written-{name}.json").read_text()
    sent = WRITTEN[name][0]
    got = events.read(text, "broker-message-id", ("json",), {})
    assert (got.args, got.kwargs, got.embed) == (list(sent.args), sent.kwargs, sent.embed)
    kept = replace(sent, root_id=got.root_id, argsrepr=got.argsrepr, kwargsrepr=got.kwargsrepr, args=got.args)
    assert got == kept


def test_every_golden_file_has_a_test() -> None:
    assert {path.stem.removeprefix("written-") for path in GOLDEN.glob("written-*")} == set(WRITTEN)
    assert len(READ) >= 30
