"""Tests of the output formats of a topology, and of ``taskq topology``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskq_cloud.cli import main
from taskq_cloud.deploy.topology.formats import graph, iam, tfvars
from taskq_cloud.deploy.topology.formats import json as as_json
from taskq_cloud.deploy.topology.model import Topology
from tests.deploy.topology.documented import documented_app


@pytest.fixture
def topology() -> Topology:
    return documented_app().topology(app_path="shop:app")


def test_json_round_trip_keeps_the_topology(topology: Topology) -> None:
    assert Topology.model_validate_json(as_json.write(topology)) == topology


def test_new_queue_leaves_variables_of_others_unchanged(topology: Topology) -> None:
    app = documented_app()
    app.task(name="shop.notify", queue="mail", time_limit=5)(lambda: None)
    before, after = tfvars.variables(topology), tfvars.variables(app.topology(app_path="shop:app"))
    assert after["queues"].keys() - before["queues"].keys() == {"mail"}
    for section in ("queues", "functions", "services", "tables", "buckets"):
        for name, value in before[section].items():
            assert after[section][name] == value


def test_longer_time_limit_changes_only_batch_timeout_and_visibility() -> None:
    one, other = (documented_app() for _ in range(2))
    other.task(name="shop.refund", time_limit=45)(lambda: None)
    before, after = (tfvars.write(app.topology()).splitlines() for app in (one, other))
    changed = [line.strip() for line in after if line not in before]
    assert changed == ['"batch_size": 2,', '"timeout_seconds": 93', '"visibility_timeout_seconds": 558']


def test_policies_name_the_account_and_use_wildcards_only_for_objects(topology: Topology) -> None:
    policies = iam.policies(topology, iam.ArnPlaceholders("123456789012"))
    assert set(policies) == {"shop-producer", "shop-orders-function", "shop-worker-service"}
    for policy in policies.values():
        for statement in policy["Statement"]:
            assert not [action for action in statement["Action"] if "*" in action]
            for resource in statement["Resource"]:
                assert re.fullmatch(r"arn:aws:[a-z0-9]+:[a-z0-9-]*:(123456789012)?:[^*{}]+(\*)?", resource), resource


def test_graph_shows_every_queue_and_its_server(topology: Topology) -> None:
    dot, mermaid = graph.write(topology), graph.write_mermaid(topology)
    assert '"queue:orders" -> "function:shop-orders";' in dot
    assert '"queue:reports" -> "service:shop-worker";' in dot
    for name in ("shop-orders", "shop-reports-dead", "shop-results", "shop.build_report"):
        assert name in dot
        assert name in mermaid
    assert dot.count("{") == dot.count("}") == 1


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deployed_shop.py").write_text(
        "from taskq_cloud import TaskQ\n"
        "app = TaskQ('shop', broker='sqs:///shop-', results='dynamodb://shop-results')\n"
        "@app.task(time_limit=5)\n"
        "def charge(): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(main, ["topology", "-A", "deployed_shop", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


@pytest.mark.usefixtures("shop")
def test_command_writes_variables_with_given_application_path() -> None:
    variables = json.loads(run()[0])
    assert variables["functions"]["celery"]["environment"]["TASKQ_APP"] == "deployed_shop"
    assert json.loads(run("--format", "json")[0])["name"] == "shop"


@pytest.mark.usefixtures("shop")
def test_command_names_placeholders_without_values() -> None:
    assert "--account and --region" in run("--format", "iam")[1]
    text, said = run("--format", "iam", "--account", "1" * 12, "--region", "eu-west-1")
    assert (said, "{" + "region}" in text) == ("", False)
