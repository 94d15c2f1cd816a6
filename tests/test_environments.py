"""Tests of one code in several deployments: which source of a setting wins, and what the deployed processes get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.environments import COMMAND_LINE
from taskq_cloud.errors import ImproperlyConfigured

STAGING = """
TASKQ_BROKER=sqs://eu-west-1/shop-staging-
TASKQ_RESULTS=dynamodb://shop-staging-results
TASKQ_SCHEDULER='eventbridge://shop-staging?role=arn:aws:iam::${ACCOUNT_ID}:role/shop-staging-scheduler'
TASKQ_TASK_TIME_LIMIT=60
TASKQ_MESSAGE_SIGNING_KEYS=a-secret-that-is-long-enough-to-be-one
TASKQ_DEPLOYMENT='{"name": "shop-staging", "function": {"maximum_concurrency": 2}}'
OTHER=1
"""


def app() -> TaskQ:
    """Return an application whose code gives every value of its production deployment."""
    shop = TaskQ(
        "shop",
        broker="sqs://eu-west-1/shop-",
        results="dynamodb://shop-results",
        scheduler="eventbridge://shop?role=arn:aws:iam::222222222222:role/shop-scheduler",
        task_time_limit=30,
        deployment={"function": {"memory_mb": 1024}},
    )
    shop.task(name="shop.charge")(len)
    return shop


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("staging.env").write_text(STAGING)
    monkeypatch.setenv("ACCOUNT_ID", "111111111111")
    monkeypatch.setenv("TASKQ_ENV_FILE", "staging.env")


def test_keywords_win_unless_deployment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_BROKER", "memory://")
    assert app().conf.broker == "sqs://eu-west-1/shop-"
    monkeypatch.setenv("TASKQ_ENVIRONMENT_FIRST", "1")
    assert app().conf.broker == "memory://"
    assert app().conf.task_time_limit == 30  # the environment says nothing about it


@pytest.mark.usefixtures("staging")
def test_file_of_deployment_overrides_keywords_and_fills_in_variables() -> None:
    conf = app().conf
    assert (conf.broker, conf.task_time_limit) == ("sqs://eu-west-1/shop-staging-", 60)
    assert conf.scheduler == "eventbridge://shop-staging?role=arn:aws:iam::111111111111:role/shop-staging-scheduler"
    # Mappings are merged, so that a deployment changes single options.
    assert conf.deployment == {"name": "shop-staging", "function": {"maximum_concurrency": 2, "memory_mb": 1024}}


@pytest.mark.usefixtures("staging")
def test_environment_overrides_file_and_command_line_overrides_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_TASK_TIME_LIMIT", "90")
    assert app().conf.task_time_limit == 90
    monkeypatch.setenv(COMMAND_LINE, '{"task_time_limit": 120}')
    assert app().conf.task_time_limit == 120


def test_celerys_name_in_environment_overrides_keyword(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_ENVIRONMENT_FIRST", "true")
    monkeypatch.setenv("TASKQ_BROKER_URL", "memory://")
    assert app().conf.broker == app().conf.broker_url == "memory://"


def test_missing_file_of_deployment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_ENV_FILE", "stagging.env")
    with pytest.raises(ImproperlyConfigured, match=r"TASKQ_ENV_FILE names 'stagging.env', and there is no such file"):
        _ = app().conf


@pytest.mark.usefixtures("staging")
def test_topology_has_names_and_settings_of_its_deployment_without_secrets() -> None:
    topology = app().topology(app_path="shop:app")
    (function,) = topology.functions
    assert (topology.name, function.name, function.memory_mb) == ("shop-staging", "shop-staging-celery", 1024)
    assert function.maximum_concurrency == 2
    assert function.environment == {
        "TASKQ_APP": "shop:app",
        "TASKQ_BROKER": "sqs://eu-west-1/shop-staging-",
        "TASKQ_ENVIRONMENT_FIRST": "1",
        "TASKQ_RESULTS": "dynamodb://shop-staging-results",
        "TASKQ_SCHEDULER": "eventbridge://shop-staging?role=arn:aws:iam::111111111111:role/shop-staging-scheduler",
        "TASKQ_TASK_TIME_LIMIT": "60",
    }
    assert "a-secret" not in topology.model_dump_json()


@pytest.mark.usefixtures("staging")
def test_deployed_process_has_the_settings_of_its_topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a function or a container overrides the code's keywords there, too."""
    (function,) = app().topology(app_path="shop:app").functions
    monkeypatch.delenv("TASKQ_ENV_FILE")
    for name, value in function.environment.items():
        monkeypatch.setenv(name, value)
    conf = app().conf
    assert (conf.broker, conf.task_time_limit) == ("sqs://eu-west-1/shop-staging-", 60)


@pytest.mark.parametrize(
    ("deployment", "where"),
    [
        ({"environment": {"TASKQ_MESSAGE_SIGNING_KEYS": "x"}}, "deployment: environment"),
        ({"function": {"environment": {"TASKQ_SECURITY_KEY": "x"}}}, "deployment: function: environment"),
    ],
)
def test_secret_in_declared_environment_is_refused(deployment: dict[str, object], where: str) -> None:
    shop = TaskQ("shop", broker="sqs:///shop-", deployment=deployment)
    shop.task(name="shop.charge", time_limit=5)(len)
    with pytest.raises(ImproperlyConfigured, match=f"{where}: TASKQ_.* would be written into the topology"):
        shop.topology()


@pytest.mark.usefixtures("staging")
def test_command_reads_file_of_deployment(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from taskq_cloud import TaskQ\napp = TaskQ('shop')\n@app.task(time_limit=5)\ndef charge(): ...\n"
    )
    command = [sys.executable, "-m", "taskq_cloud", "-A", "shop:app", "topology"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    assert '"name": "shop-staging"' in done.stdout
