"""The JSON that commands print: any reader takes it, whatever values it holds."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from taskq_cloud.beat.plan import Change
from taskq_cloud.cli import beat
from taskq_cloud.cli.output import json_text

BEYOND_JSON = [math.nan, math.inf, -math.inf]


def strictly(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} isn't JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("indent", [None, 2])
def test_nan_and_infinity_become_null(indent: int | None) -> None:
    text = json_text({"values": [*BEYOND_JSON, 1.5, "NaN"]}, indent=indent)
    assert strictly(text) == {"values": [None, None, None, 1.5, "NaN"]}
    assert ("\n" in text) is (indent is not None)


@pytest.mark.parametrize("value", BEYOND_JSON)
@pytest.mark.parametrize("command", ["plan", "text"])
def test_changes_of_a_schedule_with_nan_are_printed_as_json(
    command: str, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [change(value)]
    beat._print_changes(changes, [], as_json=command == "plan")
    printed = capsys.readouterr().out
    if command == "plan":
        (found,) = strictly(printed)
        assert found["differences"]
    assert not any(word in printed for word in ("NaN", "Infinity"))


def change(value: float) -> Change:
    return Change(action="update", name="s", entry="e", differences={"args": ([value], [1])})
