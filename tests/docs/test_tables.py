"""The tables of docs/ have a row for each option, setting, action and permission of the code, and no other row."""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.calling.options import CallOptions
from taskq_cloud.cli.worker import command as worker_command
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings, load_settings
from tests.docs.samples import DOCS

PACKAGE = DOCS.parent / "taskq_cloud"
_TICKED = re.compile(r"`([^`]+)`")


def rows(page: str, heading: str | None = None) -> list[list[str]]:
    """The cells of every table row, under a heading or on the whole page, without the tables' heads."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if heading is not None:
        _, found, text = text.partition(f"\n{heading}\n")
        assert found, f"{page} has no {heading!r}"
        level = heading.partition(" ")[0]
        text = re.split(rf"^#{{1,{len(level)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    lines = text.splitlines()
    ruled = {number - 1 for number, line in enumerate(lines) if line.startswith("|---")}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if line.startswith("|") and not line.startswith("|---") and number not in ruled
    ]


def defaults(kind: type) -> dict[str, Any]:
    found = {}
    for field in fields(kind):
        if field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
        else:
            found[field.name] = field.default
    return found


def documented(table: list[list[str]], default_at: int) -> dict[str, Any]:
    return {row[0].strip("`"): ast.literal_eval(row[default_at].strip("`")) for row in table}


@pytest.mark.parametrize(("page", "kind"), [("tasks.md", TaskOptions), ("calling.md", CallOptions)])
def test_options_are_documented_with_their_defaults(page: str, kind: type) -> None:
    assert documented(rows(page, "## Options"), 1) == defaults(kind)


def settings_rows() -> list[list[str]]:
    """The rows about settings: name, variable, default and meaning. Name and variable share a cell."""
    return [[*row[0].split("<br>"), *row[1:]] for row in rows("settings.md") if "<br>`TASKQ_" in row[0]]


def test_settings_are_documented_with_their_defaults() -> None:
    expected = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    assert documented(settings_rows(), 2) == expected


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0].strip("`")) for row in settings_rows()])
def test_variable_of_setting_is_read(row: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    name, variable = row[0].strip("`"), row[1].strip("`")
    default = Settings.model_fields[name].get_default(call_default_factory=True)
    monkeypatch.setenv(variable, _other_than(name, default))
    assert getattr(load_settings({}), name) != default


def _other_than(name: str, default: Any) -> str:
    """A value for an environment variable that the setting accepts and that differs from its default."""
    special = {
        "accept_unsigned": '["all"]',
        "timezone": "Europe/Paris",
        "queue_max_priorities": '{"a": 1}',
        "worker_priority_weights": "[1, 2]",
        "task_acks_on_failure": "true",
        "task_acks_on_timeout": "true",
    }
    if name in special:
        return special[name]
    match default:
        case bool():
            return json.dumps(not default)
        case Mapping():
            return '{"a": "b"}'
        case tuple():
            return '["pickle"]'
    return "7"


def test_variable_without_valid_json_is_an_error_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_ACCEPT_CONTENT", "json")
    with pytest.raises(ImproperlyConfigured, match=r"accept_content.*lists and mappings are JSON"):
        load_settings({})


def actions_in_the_code() -> set[str]:
    """The values of ``action`` in log records: in ``extra``, or as an argument of a helper that logs."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'"action": "([^"]+)"', source))
        found |= set(re.findall(r'\.log(?:\(|,)\s*logging\.\w+,\s*"([a-z_.]+)"', source))
        found |= set(re.findall(r'_log\(\s*[\w.]+,\s*"([a-z]+\.[a-z_.]+)"', source))
    return found


def test_actions_of_log_records_are_documented() -> None:
    documented_actions = {name for row in rows("operations.md", "## Actions") for name in _TICKED.findall(row[0])}
    assert documented_actions == actions_in_the_code()


def test_options_of_worker_are_documented() -> None:
    documented_options = {
        name for row in rows("workers.md") for name in _TICKED.findall(row[0]) if name.startswith("-")
    }
    known = {name for option in worker_command.params for name in option.opts}
    assert known <= documented_options
    assert documented_options <= known


ADAPTERS = {"sqs": PACKAGE / "brokers", "dynamodb": PACKAGE / "stores" / "results"}
_OPERATION = re.compile(r'"((?:send|receive|delete|change|get|batch|put|update|purge|list|create)_[a-z_]+)"')


def actions_of(service: str) -> set[str]:
    """The API operations that the adapters of a service call, as IAM actions; SQS has no actions for batches.

    A statement of DynamoDB has the action of its verb (Amazon DynamoDB Developer Guide, "IAM security policies with
    PartiQL for DynamoDB").
    """
    operations = {
        name
        for path in ADAPTERS[service].glob(f"*{service}*.py")
        for name in _OPERATION.findall(path.read_text("utf-8"))
    }
    names = {name.removesuffix("_batch").title().replace("_", "") for name in operations}
    return {f"{service}:{'PartiQLInsert' if name == 'BatchExecuteStatement' else name}" for name in names}


@pytest.mark.parametrize("service", ["sqs", "dynamodb"])
def test_permissions_on_aws_are_documented(service: str) -> None:
    table = {name for row in rows("sqs.md", "## Permissions") for name in _TICKED.findall(row[0])}
    assert {name for name in table if name.startswith(f"{service}:")} == actions_of(service)


def test_permissions_of_eventbridge_scheduler_are_documented() -> None:
    sources = "".join(path.read_text("utf-8") for path in (PACKAGE / "stores" / "schedules").glob("*eventbridge*.py"))
    called = {f"scheduler:{name.title().replace('_', '')}" for name in _OPERATION.findall(sources)}
    table = rows("delays.md", "### Permissions")
    assert {name for row in table for name in _TICKED.findall(row[0]) if name.startswith("scheduler:")} == called
    (policy,) = re.findall(r"```json\n(.*?)```", (DOCS / "delays.md").read_text(encoding="utf-8"), re.DOTALL)
    allowed = {action for statement in json.loads(policy)["Statement"] for action in statement["Action"]}
    assert allowed == {name for row in table if row[1] for name in _TICKED.findall(row[0])}


def test_permissions_of_cloud_scheduler_are_documented() -> None:
    source = (PACKAGE / "stores" / "schedules" / "cloud_scheduler.py").read_text("utf-8")
    called = {{"resume": "enable"}.get(verb, verb) for verb in re.findall(r'"([a-z]+)_jobs?"', source)}
    page = (DOCS / "periodic-tasks.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"\*\*Permissions\.\*\* (.*?)\n\n", page, re.DOTALL)
    named = {name.rpartition(".")[2] for name in _TICKED.findall(paragraph.partition("; and")[0])}
    assert named == called | {"admin", "fullView"}


def test_policies_allow_the_actions_of_the_permissions_table() -> None:
    text = (DOCS / "sqs.md").read_text(encoding="utf-8")
    policies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    allowed = [{action for statement in policy["Statement"] for action in statement["Action"]} for policy in policies]
    table = rows("sqs.md", "## Permissions")
    for column, policy in ((1, allowed[0]), (2, allowed[1])):
        assert policy == {name for row in table if row[column] for name in _TICKED.findall(row[0])}


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_between_pages_lead_to_headings(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([\w./-]*\.md)?(?:#([\w-]+))?\)", text):
        linked = DOCS / (target or page)
        assert linked.exists(), f"{page} links to {target}"
        headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, f"{page} links to {target}#{anchor}"
