"""Tests of ``taskq cost``: the documented example and options, the output formats, and errors for invalid input."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskq_cloud.cli import main
from taskq_cloud.cli.cost import command
from taskq_cloud.deploy.costs.prices import OWN_LIST, read_prices, regions_of
from tests.docs.samples import DOCS
from tests.docs.test_tables import rows

PAGE = (DOCS / "cost.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the documented application, under a module name that no other test has imported."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "cost_shop.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "cost_shop", raising=False)


def cost(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["cost", "-A", "cost_shop", *arguments])


def test_documented_example_prints_documented_output() -> None:
    example = re.search(
        r"^    taskq (cost -A shop .*--run-seconds.*)\n\n```text\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL
    )
    assert example
    line, shown = example.groups()
    result = CliRunner().invoke(main, line.replace("-A shop", "-A cost_shop").split())
    assert result.exit_code == 0, result.output
    assert result.stdout == shown


def test_every_command_option_is_documented() -> None:
    documented = {row[0].strip("`") for row in rows("cost.md") if row[0].startswith("`--")}
    own = {name for option in command.params if option.expose_value for name in option.opts}
    assert documented == own


def test_json_output_includes_calls_and_price_pages() -> None:
    answer = json.loads(cost("--tasks-per-day", "orders=100", "--format", "json").stdout)
    (sends,) = (line for line in answer["lines"] if line["what"] == "SQS sends")
    assert (sends["calls_per_day"], sends["page"]) == (100, "Amazon SQS pricing")
    assert answer["usd_per_month"] == pytest.approx(sum(line["usd_per_month"] for line in answer["lines"]), abs=1e-4)


def test_free_tier_is_subtracted_once_per_price() -> None:
    def sqs(*options: str) -> float:
        answer = json.loads(cost("--tasks-per-day", "orders=100000", "--format", "json", *options).stdout)
        return float(sum(line["usd_per_month"] for line in answer["lines"] if line["price"] == "sqs_standard"))

    assert sqs() - sqs("--free-tier") == pytest.approx(0.40)


def test_prices_of_another_region_are_announced() -> None:
    result = cost("--tasks-per-day", "1", "-b", "sqs://eu-west-1/shop-")
    assert "At the prices of us-east-1; the application's Region is eu-west-1" in result.stderr


def test_application_is_priced_in_its_own_region_if_the_list_has_it() -> None:
    result = cost("--tasks-per-day", "1", "-b", "sqs://us-west-2/shop-", "--format", "json")
    assert (json.loads(result.stdout)["region"], result.stderr) == ("us-west-2", "")


def test_list_needs_only_the_prices_that_differ_from_another_region(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'date = "2027-01"\n[eu-west-1]\nsame_as = "us-east-2"\n'
        'sqs_standard = { usd = 4, per = 1_000_000, page = "x" }\n'
        '[eu-north-1]\nsame_as = "eu-west-1"\nlambda_request = { usd = 2, per = 1_000_000, page = "y" }\n'
    )
    prices = read_prices(tmp_path / "own.toml", "eu-north-1")
    assert (prices.region, prices.date) == ("eu-north-1", "2027-01")
    assert [prices.price(name).usd for name in ("lambda_request", "sqs_standard", "sqs_fifo")] == [2, 4, 0.5]

    result = cost(
        "--tasks-per-day", "orders=1000000", "-b", "sqs://eu-west-1/shop-", "--prices", "own.toml", "--format", "json"
    )
    answer = json.loads(result.stdout)
    assert answer["region"] == "eu-west-1"
    (sends,) = (line for line in answer["lines"] if line["what"] == "SQS sends")
    assert sends["usd_per_month"] == 30 * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks-per-day", "-1"], "--tasks-per-day is -1; it has to be a finite number of at least 0"),
        (["--tasks-per-day", "many"], "'many' isn't a number"),
        (["--tasks-per-day", "5", "--tasks-per-day", "orders=5"], "takes one number, or one for each queue"),
        (["--tasks-per-day", "mail=5"], "the application has no queue 'mail'; its queues are: orders, reports"),
        (["--tasks-per-day", "5", "--retries", "-1"], "--retries is -1"),
        (["--tasks-per-day", "5", "--run-seconds", "inf"], "--run-seconds is inf"),
        (["--tasks-per-day", "5", "--eta-share", "2"], "--eta-share is 2; it has to be a finite number from 0 to 1"),
        (["--tasks-per-day", "5", "--send-batch", "0"], "--send-batch is 0; it has to be a finite number from 1 to 10"),
        (["--tasks-per-day", "5", "--region", "mars"], "no prices for 'mars'; its Regions are: asia-northeast1"),
        (["--tasks-per-day", "5", "--prices", "none.toml"], "none.toml can't be read"),
        (["--tasks-per-day", "5", "--results", "sqlite:///a.db"], "the results sqlite:///a.db are on one machine"),
    ],
)
def test_invalid_input_is_refused_with_a_reason(arguments: list[str], said: str) -> None:
    result = cost(*arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[us-east-1]\n", "does not say when"),
        ('date = "2026-11"\n[us-east-1]\nsqs_standard = { usd = -1, per = 1, page = "x" }\n', "sqs_standard.usd"),
        ('date = "2026-11"\n[us-east-1]\nsqs_standard = { usd = 1, per = 0, page = "x" }\n', "sqs_standard.per"),
        ('date = "2026-11"\n[us-east-1]\nsqs_standard = 4\n', "sqs_standard"),
        ('date = "2026-11"\nus-east-1 = 4\n', "us-east-1"),
        ('date = "2026-11"\n[us-east-1]\nsame_as = 4\n', "[us-east-1]: same_as is 4, and must name a Region"),
        ('date = "2026-11"\n[us-east-1]\nsame_as = "mars"\n', "same_as names 'mars', which has no prices"),
        (
            'date = "2026-11"\n[us-east-1]\nsame_as = "a"\n[a]\nsame_as = "us-east-1"\n',
            "goes round in a circle: us-east-1 -> a -> us-east-1",
        ),
        ("date = \n", "can't be read"),
        (
            'date = "2026-11"\n[us-east-1]\nlambda_request = { usd = 1, per = 1, page = "x" }\n',
            "no price 'sqs_standard' in [us-east-1]: add sqs_standard =",
        ),
    ],
)
def test_invalid_price_list_is_refused_with_a_reason(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    result = cost("--tasks-per-day", "5", "--prices", "own.toml")
    assert result.exit_code == 1
    assert said in result.output


def test_packaged_price_list_names_its_pages_and_date() -> None:
    assert {"us-east-1", "us-east-2", "us-west-2", "us-central1", "europe-west1"} <= regions_of(OWN_LIST)
    for region in regions_of(OWN_LIST):
        prices = read_prices(OWN_LIST, region)
        assert {"sqs_standard", "dynamodb_write"} <= set(prices.prices) or {"pubsub_gib"} <= set(prices.prices)
        assert prices.date == "2026-11"
        assert all("pricing" in price.page for price in prices.prices.values())
