"""Every module keeps what its tests say, and every example is valid, with both generations of the AWS provider."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from tests.infra.terraform import INFRA, ROOT, copy_of, planned, with_providers

NAMES = {
    "aws_cloudwatch_log_group": "name",
    "aws_cloudwatch_metric_alarm": "alarm_name",
    "aws_iam_policy": "name",
    "aws_iam_role": "name",
    "aws_lambda_function": "function_name",
    "aws_sqs_queue": "name",
    "google_pubsub_topic": "name",
}
"""What a resource is called by, where two of one name can't be."""

MODULES = sorted(path.name for path in (INFRA / "modules").iterdir())
EXAMPLES = sorted(path.name for path in (INFRA / "examples").iterdir())


def root_of(examples, tmp_path, *, providers):
    """A configuration of several examples, each with its own providers, or with one for all: a start takes seconds."""
    root = copy_of(INFRA, tmp_path)
    package = tmp_path / "package.zip"
    package.write_bytes(b"an archive")
    function = {"package_filename": str(package)}
    given = {
        "complete": {
            **function,
            "layer_filename": str(package),
            "image": "shop:1",
            "alarm_email": "shop@example.com",
            "network": {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]},
        },
        "gcp": {"region": "europe-west1", "image": "shop:1", "producers": {"web": "user:shop@example.com"}},
        "localstack": function,
        "minimal": function,
    }
    written = {"module": {name: {"source": f"./examples/{name}", **given[name]} for name in examples}}
    if not providers:
        written["provider"] = {"aws": {"region": "eu-west-1"}, "google": {"project": "shop-prod"}}
        for name in examples:
            main = root / "examples" / name / "main.tf"
            main.write_text(
                re.sub(r'^provider "\w+" \{\n.*?^\}\n', "", main.read_text(), flags=re.DOTALL | re.MULTILINE)
            )
    (root / "main.tf.json").write_text(json.dumps(written))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_a_module_s_own_tests_pass(name, tmp_path):
    folder = copy_of(INFRA / "modules" / name, tmp_path)
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(folder)
    done = terraform.run(folder, "test", "-no-color")
    assert "0 failed" in done.stdout


@pytest.mark.slow
def test_examples_are_planned_with_the_newest_providers(tmp_path):
    folder = root_of(EXAMPLES, tmp_path, providers=False)
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(folder)
    made = planned(terraform.plan(folder))
    assert {address.split(".")[1] for address in made} == set(EXAMPLES)
    for example in EXAMPLES:
        names = Counter(
            (each["type"], each["values"][NAMES[each["type"]]])
            for address, each in made.items()
            if address.startswith(f"module.{example}.") and each["type"] in NAMES
        )
        # A name of none becomes one that the provider makes up; one that is there twice is an error of its first apply.
        assert [name for name, times in names.items() if times > 1 or not name[1]] == []


@pytest.mark.slow
def test_examples_are_valid_with_the_provider_s_generation_before(tmp_path):
    folder = root_of([name for name in EXAMPLES if name != "gcp"], tmp_path, providers=True)
    terraform = with_providers("real", tmp_path / "data")
    terraform.init(folder)
    terraform.run(folder, "validate", "-no-color")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_describes_all_it_takes_and_gives(name):
    for file in sorted((INFRA / "modules" / name).glob("*.tf")):
        blocks = file.read_text().split("\n}\n")
        undescribed = [b for b in blocks if b.lstrip().startswith(("variable ", "output ")) and "description" not in b]
        assert not undescribed, f"{file.name}: {undescribed}"
        untyped = [b for b in blocks if b.lstrip().startswith("variable ") and "  type" not in b]
        assert not untyped, f"{file.name}: {untyped}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_s_variables_are_what_its_application_declares(name):
    folder = INFRA / "examples" / name
    done = subprocess.run(
        [sys.executable, "-B", "-m", "taskq_cloud", "-A", "shop:app", "topology"],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if not key.startswith("TASKQ_")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == json.loads((folder / "taskq.tfvars.json").read_text())


def test_the_page_names_every_module_and_example():
    page = (ROOT / "docs" / "terraform.md").read_text()
    assert [name for name in [*MODULES, *EXAMPLES] if f"\n| `{name}` |" not in page] == []
