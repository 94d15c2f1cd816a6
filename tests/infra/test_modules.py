"""Every module keeps what its tests say, and every example is valid, with both generations of the AWS provider."""

import json
import os
import subprocess
import sys

import pytest

from tests.infra.terraform import INFRA, ROOT, copy_of, with_providers

MODULES = sorted(path.name for path in (INFRA / "modules").iterdir())
EXAMPLES = sorted(path.name for path in (INFRA / "examples").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_a_module_s_own_tests_pass(name, tmp_path):
    folder = copy_of(INFRA / "modules" / name, tmp_path)
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(folder)
    done = terraform.run(folder, "test", "-no-color")
    assert "0 failed" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid(name, tmp_path):
    folder = copy_of(INFRA / "examples" / name, tmp_path)
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(folder)
    terraform.run(folder, "validate", "-no-color")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["complete", "localstack"])
def test_an_example_is_valid_with_the_provider_s_generation_before(name, tmp_path):
    folder = copy_of(INFRA / "examples" / name, tmp_path)
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
