"""``taskq doctor`` is silent after a clean apply, and loud after each change by hand.

The example ``complete`` is applied to a local AWS stack with the real provider, so that the doctor reads policies as
Terraform writes them. ``test_applied`` does the same with the example ``localstack``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emulators import aws as stacks
from tests.infra.terraform import INFRA, WRAPPERS, copy_of, with_providers

ACCOUNT = "123456789012"
LOCAL_PROVIDER = """
provider "aws" {
  region                      = local.declared.region
  access_key                  = "%s" # the account of the example; the stack takes any key, and makes it the account
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
}
"""


def diagnose(folder: Path, *skip: str) -> list[str]:
    """Return the doctor's findings on the application of an example: the name of each check and its resource."""
    options = [word for each in skip for word in ("--skip", each)]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "taskq_cloud", "-A", "shop:app", "doctor", "--format", "json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found = [f"{each['check']} {each['resource']}: {each['difference']}" for each in json.loads(done.stdout)]
    errors = [each for each in json.loads(done.stdout) if each["severity"] == "error"]
    assert done.returncode == (1 if errors else 0)
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_doctor_after_clean_apply_is_silent(
    own_stack: stacks.Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not (WRAPPERS / "real").exists():
        pytest.skip("the AWS provider is not installed")
    for name, value in stacks.environment(own_stack.endpoint_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
    for name in [name for name in os.environ if name.startswith("TASKQ_")]:
        monkeypatch.delenv(name)
    folder = copy_of(INFRA / "examples" / "complete", tmp_path)
    (folder / "main_override.tf").write_text(LOCAL_PROVIDER % ACCOUNT)
    # No local stack has Application Auto Scaling, and alarms are not what is compared here.
    (folder.parent.parent / "modules" / "container_worker" / "scaling.tf").unlink()
    package = tmp_path / "function.zip"
    package.write_bytes(b"PK\x05\x06" + b"\0" * 18)
    network = {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}
    given = {
        "package_filename": str(package),
        "layer_filename": str(package),
        "image": "shop:1",
        "alarm_email": "shop@example.com",
        "network": network,
    }
    (folder / "given.auto.tfvars.json").write_text(json.dumps(given))
    terraform = with_providers("real", tmp_path / "data")
    terraform.init(folder)
    terraform.run(folder, "apply", "-auto-approve", "-input=false", "-no-color")
    assert diagnose(folder, "scaling") == []

    from botocore.session import Session  # an optional requirement: without it, the tests without AWS still run

    # Values above the least that is safe are drift, too.
    functions: Any = Session().create_client("lambda")
    functions.update_function_configuration(FunctionName="shop-orders", MemorySize=2048)
    (found,) = diagnose(folder, "scaling")
    assert found == "function.memory function shop-orders: it has 2048 MiB of memory; 1024 MiB are declared"
