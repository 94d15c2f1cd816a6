"""Run ministack, changed to behave as AWS does where tests would see a difference: the script of ``Ministack``.

Schedules are checked every ``TICK_SECONDS``, have values for their context attributes, can call SQS's SendMessage, and
are listed in pages. Standard input is a pipe from the process that started the script, and closes when that one ends.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from following import end_with_the_starter  # type: ignore[import-not-found]  # beside this script
from ministack.app import main
from ministack.services import eventbridge, scheduler, sqs

TICK_SECONDS = 0.25
"""The interval between checks. With ministack's own 10 s, every test of a schedule would wait."""


def filled(target: dict[str, Any], event: dict[str, Any], schedule: dict[str, Any]) -> dict[str, Any]:
    """Return a target with its context attributes replaced by values, which ministack does not do."""
    # A cron schedule is due at the beginning of a minute.
    moment = datetime.fromtimestamp(int(event["Time"]), UTC).replace(tzinfo=None)
    if "cron(" in str(schedule.get("ScheduleExpression")):
        moment = moment.replace(second=0)
    values = {
        "scheduled-time": f"{moment.isoformat()}Z",
        "schedule-arn": schedule.get("Arn", ""),
        "execution-id": event["EventId"],
        "attempt-number": "1",
    }
    text = target.get("Input", "")
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return {**target, "Input": text} if text else target


def list_schedules_by_pages() -> None:
    """Make lists of schedules continue after the first page, and refuse a group that does not exist."""
    list_all = scheduler._list_schedules

    def list_schedules(query: dict[str, str]) -> Any:
        group, begin = query.get("ScheduleGroup"), int(query.get("NextToken") or 0)
        if group and group not in scheduler._schedule_groups:
            return scheduler._error(404, "ResourceNotFoundException", f"Schedule group {group} does not exist.")
        _, _, body = list_all({**query, "MaxResults": str(sys.maxsize)})
        found, end = json.loads(body)["Schedules"], begin + int(query.get("MaxResults", 100))
        more = {"NextToken": str(end)} if end < len(found) else {}
        return scheduler._json_resp(200, {"Schedules": found[begin:end], **more})

    scheduler._list_schedules = list_schedules


def send_messages_of_universal_targets() -> None:
    """Make schedules accept SQS's SendMessage as their target; ministack accepts only a queue."""
    invoke = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> Any:
        target = filled(target, event, rule)
        if not target.get("Arn", "").endswith(":scheduler:::aws-sdk:sqs:sendMessage"):
            return invoke(target, event, rule, view)
        parameters = json.loads(target["Input"])
        return sqs._act_send_message(parameters, parameters["QueueUrl"])

    eventbridge._invoke_target = invoke_target


if __name__ == "__main__":
    end_with_the_starter()
    scheduler._SCHEDULE_TICK_INTERVAL = eventbridge._SCHEDULER_TICK_INTERVAL = TICK_SECONDS
    send_messages_of_universal_targets()
    list_schedules_by_pages()
    sys.argv = ["ministack"]
    main()
