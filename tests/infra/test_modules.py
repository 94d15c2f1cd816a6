"""Modules pass their own tests and are documented; examples are valid with versions 5 and 6 of the AWS provider."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.infra import configuration, readmes
from tests.infra.commands import topology_of
from tests.infra.terraform import INFRA, ROOT, copy_of, planned, with_providers

pytestmark = pytest.mark.slow

NAMES = {
    "aws_cloudwatch_log_group": "name",
    "aws_cloudwatch_metric_alarm": "alarm_name",
    "aws_iam_policy": "name",
    "aws_iam_role": "name",
    "aws_lambda_function": "function_name",
    "aws_sqs_queue": "name",
    "google_pubsub_topic": "name",
}
"""The attribute of each resource type that must be unique."""

MODULES = sorted(path.name for path in (INFRA / "modules").iterdir())
EXAMPLES = sorted(path.name for path in (INFRA / "examples").iterdir())

ENVIRONMENTS = ("staging", "production")
"""The deployments of the example ``environments``; each other example has one."""

DEPLOYMENTS = {name: name for name in EXAMPLES} | {"environments": "environments", "production": "environments"}
"""Name of a deployment -> name of its example. The deployment ``environments`` is ``staging``."""

SCALING = {"parameter_version": "projects/shop-prod/locations/global/parameters/shop-scaling/versions/v1"}

PINNED = re.compile(r"git::https://example\.com/taskq-cloud\.git//infra/terraform/modules/(\w+)\?ref=(v[\d.]+)")
"""A source that names one version of a module, as documentation and examples show it."""

NOT_NOUNS = frozenset({"By", "How", "If", "In", "Its", "Likewise", "Of", "That", "Those", "To", "What"})
NOT_NOUNS |= {"Whether", "When", "Where", "Which", "Who", "Whoever", "Whose", "With"}
"""First words that don't begin a noun phrase."""


def root_of(deployments: list[str], tmp_path: Path, *, providers: bool) -> Path:
    """Write a root module that calls several examples, because each start of Terraform takes seconds.

    Args:
        deployments: names of the deployments.
        tmp_path: folder for the root module.
        providers: True if each example keeps its own provider, False if one provider serves all of them.
    """
    root = copy_of(INFRA, tmp_path)
    package = tmp_path / "package.zip"
    package.write_bytes(b"an archive")
    function = {"package_filename": str(package)}
    given: dict[str, dict[str, Any]] = {
        "complete": {
            **function,
            "layer_filename": str(package),
            "image": "shop:1",
            "alarm_email": "shop@example.com",
            "network": {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]},
        },
        **{
            name: {
                **function,
                "environment": environment,
                "account_id": "111111111111",
                "image": "shop:1",
                "network": {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]},
                "secrets": {"SHOP_PASSWORD": "arn:aws:secretsmanager:eu-west-1:111111111111:secret:shop:password::"},
            }
            for name, environment in (("environments", "staging"), ("production", "production"))
        },
        "gcp": {
            "region": "europe-west1",
            "image": "shop:1",
            "producers": {"web": "user:shop@example.com"},
            "scaling": SCALING,
        },
        "localstack": function,
        "minimal": function,
    }
    written: dict[str, Any] = {
        "module": {name: {"source": f"./examples/{DEPLOYMENTS[name]}", **given[name]} for name in deployments}
    }
    if not providers:
        written["provider"] = {"aws": {"region": "eu-west-1"}, "google": {"project": "shop-prod"}}
        for name in {DEPLOYMENTS[each] for each in deployments}:
            main = root / "examples" / name / "main.tf"
            main.write_text(
                re.sub(r'^provider "\w+" \{\n.*?^\}\n', "", main.read_text(), flags=re.DOTALL | re.MULTILINE)
            )
    (root / "main.tf.json").write_text(json.dumps(written))
    return root


@pytest.mark.parametrize("name", MODULES)
def test_module_tests_with_stand_in_providers_pass(name: str, tmp_path: Path) -> None:
    folder = copy_of(INFRA / "modules" / name, tmp_path)
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(folder)
    done = terraform.run(folder, "test", "-no-color")
    assert "0 failed" in done.stdout


def test_examples_with_newest_providers_plan_unique_names(tmp_path: Path) -> None:
    folder = root_of(list(DEPLOYMENTS), tmp_path, providers=False)
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(folder)
    made = planned(terraform.plan(folder))
    assert {address.split(".")[1] for address in made} == set(DEPLOYMENTS)
    for example in EXAMPLES:
        # All deployments of an example may be in one account.
        prefixes = tuple(f"module.{name}." for name, of in DEPLOYMENTS.items() if of == example)
        names = Counter(
            (each["type"], each["values"][NAMES[each["type"]]])
            for address, each in made.items()
            if address.startswith(prefixes) and each["type"] in NAMES
        )
        # The provider would make up a missing name, and the first apply would fail on a name that occurs twice.
        assert [name for name, times in names.items() if times > 1 or not name[1]] == []


def test_aws_examples_with_provider_version_5_are_valid(tmp_path: Path) -> None:
    folder = root_of([name for name in DEPLOYMENTS if name != "gcp"], tmp_path, providers=True)
    terraform = with_providers("real", tmp_path / "data")
    terraform.init(folder)
    terraform.run(folder, "validate", "-no-color")


def samples_of(page: Path) -> list[str]:
    """Return the Terraform samples of a page, with the modules of the copy beside them in place of pinned ones."""
    samples = re.findall(r"```hcl\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [PINNED.sub(r"../../modules/\1", each) for each in samples]


def test_terraform_samples_of_all_pages_are_valid(tmp_path: Path) -> None:
    root = copy_of(INFRA, tmp_path)
    samples = {name: samples_of(INFRA / "modules" / name / "README.md") for name in MODULES}
    samples["page"] = samples_of(ROOT / "docs" / "terraform.md")
    assert {name for name, found in samples.items() if not found} == set()
    calls = {}
    for name, found in samples.items():
        declaration = INFRA / "examples" / ("gcp" if name.startswith("gcp_") else "complete") / "taskq.tfvars.json"
        for index, text in enumerate(found):
            folder = root / "samples" / f"{name}_{index}"
            folder.mkdir(parents=True)
            (folder / "main.tf").write_text(text)
            (folder / "taskq.tfvars.json").write_text(declaration.read_text())
            calls[folder.name] = {"source": f"./samples/{folder.name}"}
    provider = {"aws": {"region": "eu-west-1"}, "google": {"project": "shop-prod"}, "azurerm": {"features": {}}}
    (root / "main.tf.json").write_text(json.dumps({"module": calls, "provider": provider}))
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(root)
    terraform.run(root, "validate", "-no-color")


def test_terraform_files_are_formatted(tmp_path: Path) -> None:
    with_providers("offline", tmp_path / "data").run(INFRA, "fmt", "-check", "-recursive", "-no-color")


@pytest.mark.parametrize("name", MODULES)
def test_readme_of_module_agrees_with_its_files(name: str) -> None:
    folder = INFRA / "modules" / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n\n")
    assert "\n## Usage\n\n```hcl\n" in text
    assert text == readmes.updated(folder), "run: python -m tests.infra.readmes"


@pytest.mark.parametrize("name", EXAMPLES)
def test_readme_of_example_agrees_with_its_files(name: str) -> None:
    folder = INFRA / "examples" / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n\n")
    assert "\n## Usage\n" in text
    assert text == readmes.updated(folder), "run: python -m tests.infra.readmes"


@pytest.mark.parametrize(
    "folder", [*(f"modules/{name}" for name in MODULES), *(f"examples/{name}" for name in EXAMPLES)]
)
def test_descriptions_of_inputs_and_outputs_are_noun_phrases(folder: str) -> None:
    found = configuration.read(INFRA / folder)
    assert [name for name, each in found.variables.items() if not each.type] == []
    descriptions = {name: each.description for name, each in found.variables.items()} | found.outputs
    assert {name: text for name, text in descriptions.items() if not re.match(r"[A-Z].*\.$", text)} == {}
    assert {name: text for name, text in descriptions.items() if text.split()[0] in NOT_NOUNS} == {}


def test_pinned_sources_name_existing_modules_and_one_version() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), *INFRA.glob("*/*/README.md"), *INFRA.glob("examples/*/main.tf")]
    found = {page: PINNED.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert {name for sources in found.values() for name, _ in sources} == set(MODULES)
    assert len({version for sources in found.values() for _, version in sources}) == 1
    assert [page for page, sources in found.items() if page.suffix == ".tf" and len(sources) != 1] == []


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "environments"])
def test_declaration_of_example_equals_topology_of_its_application(name: str) -> None:
    folder = INFRA / "examples" / name
    assert topology_of(folder) == json.loads((folder / "taskq.tfvars.json").read_text())


def test_environments_have_declarations_of_their_own_and_one_code() -> None:
    folder = INFRA / "examples" / "environments"
    found = {name: topology_of(folder, TASKQ_ENV_FILE=f"{name}.env") for name in ENVIRONMENTS}
    assert found == {name: json.loads((folder / f"{name}.taskq.json").read_text()) for name in ENVIRONMENTS}
    staging, production = (json.dumps(found[name]) for name in ENVIRONMENTS)
    # Nothing that one environment declares is in the other one, and the code names neither.
    assert "production" not in staging
    assert "222222222222" not in staging
    assert "staging" not in production
    assert not re.search(r"staging|production|eu-west|\d{12}", (folder / "shop.py").read_text())
    sizes = [found[name]["services"][f"shop-{name}-worker"]["maximum_tasks"] for name in ENVIRONMENTS]
    assert sizes == [1, 20]


def test_terraform_page_lists_every_module_and_example() -> None:
    page = (ROOT / "docs" / "terraform.md").read_text()
    assert [name for name in [*MODULES, *EXAMPLES] if f"\n| `{name}` |" not in page] == []
