"""Common to all benchmarks: their page, and what they use of a local AWS stack."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import botocore.session

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "benchmarks.md"


def conditions(rounds: int) -> str:
    """Return the sentence over a table that says how and where it was measured."""
    measured = "One round" if rounds == 1 else f"Medians of {rounds} alternating rounds"
    return f"{measured} on Python {platform.python_version()}, {os.cpu_count()} cores."


def write_table(name: str, text: str) -> None:
    """Replace a table of the page, which is between two comments with the table's name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def client(service: str, endpoint_url: str) -> Any:
    """Open a client of a stack, with the credentials that any stack takes."""
    session: Any = botocore.session.get_session()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
    return session.create_client(service, endpoint_url=endpoint_url, **keys)


def create_table(endpoint_url: str) -> None:
    """Create the table ``bench``, which keeps results."""
    client("dynamodb", endpoint_url).create_table(
        TableName="bench",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )


def batch(task: str, argument: float, size: int) -> dict[str, list[dict[str, Any]]]:
    """Make the event with which Lambda hands over new messages of the queue ``bench``."""

    def record(number: int) -> dict[str, Any]:
        body = {"task": task, "id": str(uuid4()), "args": [argument]}
        return {
            "messageId": f"{number}",
            "receiptHandle": f"receipt-{number}",
            "body": json.dumps(body),
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:bench",
        }

    return {"Records": [record(number) for number in range(size)]}
