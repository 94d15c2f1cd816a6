"""Tests of secrets by reference, read from the AWS stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud.bootstrap.secrets import load_secrets, read_references
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured
from tests.conftest import StackAddress

SIGNING_KEY = f"hmac:{'k3y' * 20}"
JSON = {"token": "t0ken", "signing": SIGNING_KEY}
VARIABLES = ("SHOP_PASSWORD", "SHOP_TOKEN", "SHOP_KEY")


@pytest.fixture
def arns(
    local_stack: StackAddress,
    aws_environment: dict[str, str],
    make_aws_client: Callable[[str, str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, str]]:
    """Return the ARNs of a secret, of a JSON secret, and of a parameter."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # removes it again at the end of the test
        monkeypatch.delenv(name)
    manager, ssm = (make_aws_client(name, local_stack.endpoint_url) for name in ("secretsmanager", "ssm"))
    prefix = f"t{uuid4().hex[:8]}"
    plain = manager.create_secret(Name=f"{prefix}/plain", SecretString="open sesame")["ARN"]
    mapping = manager.create_secret(Name=f"{prefix}/json", SecretString=json.dumps(JSON))["ARN"]
    name = f"/{prefix}/key"
    ssm.put_parameter(Name=name, Value="k3y", Type="SecureString")
    region, account = plain.split(":")[3:5]
    yield {"plain": plain, "json": mapping, "parameter": f"arn:aws:ssm:{region}:{account}:parameter{name}"}
    for arn in (plain, mapping):
        manager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    ssm.delete_parameter(Name=name)


def given(monkeypatch: pytest.MonkeyPatch, **references: str) -> None:
    monkeypatch.setenv("TASKQ_SECRETS", json.dumps(references))


def test_variables_get_the_values_of_their_secrets(arns: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SHOP_PASSWORD=arns["plain"], SHOP_TOKEN=f"{arns['json']}:token::", SHOP_KEY=arns["parameter"])
    load_secrets()
    assert [os.environ[name] for name in VARIABLES] == ["open sesame", "t0ken", "k3y"]


def test_variable_that_is_set_is_kept_without_a_call(arns: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """So a child process, which inherits the variables, makes no calls."""
    given(monkeypatch, SHOP_PASSWORD=f"{arns['plain']}x")
    monkeypatch.setenv("SHOP_PASSWORD", "as it was")
    load_secrets()
    assert os.environ["SHOP_PASSWORD"] == "as it was"


def test_application_is_imported_with_its_secrets(arns: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import os\nfrom taskq_cloud import TaskQ\nprint(os.environ['SHOP_PASSWORD'])\n"
        "app = TaskQ('shop', broker='memory://')\n"
    )
    code = "import taskq_cloud.lambda_function as f; print(f.app.conf.message_signing_keys[0].get_secret_value())"
    secrets = {"SHOP_PASSWORD": arns["plain"], "TASKQ_MESSAGE_SIGNING_KEYS": f"{arns['json']}:signing::"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TASKQ_APP": "shop:app", "TASKQ_SECRETS": json.dumps(secrets)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["open sesame", SIGNING_KEY]


def test_missing_secret_is_named_with_its_variable(arns: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SHOP_PASSWORD=arns["plain"].replace("plain", "other"))
    with pytest.raises(AccessDenied, match=r"TASKQ_SECRETS: SHOP_PASSWORD: arn:aws:secretsmanager:.*other.* can't be"):
        load_secrets()


def test_secret_without_the_named_key_is_an_error_that_does_not_show_it(
    arns: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arn in (f"{arns['json']}:other::", f"{arns['plain']}:other::"):
        given(monkeypatch, SHOP_TOKEN=arn)
        with pytest.raises(ImproperlyConfigured, match="isn't a JSON object with a key 'other'") as raised:
            load_secrets()
        assert "sesame" not in repr(raised.value.__context__)
        assert "t0ken" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "isn't a JSON object"),
        ("{", "isn't a JSON object"),
        ('{"A": "shop/password"}', "A: 'shop/password' is neither the ARN of a secret"),
        ('{"A": "arn:aws:s3:::bucket"}', "A: 'arn:aws:s3:::bucket' is neither the ARN of a secret"),
    ],
)
def test_wrong_reference_is_refused(text: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        read_references(text)


def test_reference_names_region_version_and_parameter() -> None:
    arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:shop-AbCdEf"
    text = json.dumps({"A": f"{arn}::AWSPREVIOUS:", "B": "arn:aws:ssm:eu-west-1:123456789012:parameter/key"})
    first, second = read_references(text)
    assert (first.region, first.key, dict(first.call.parameters)) == (
        "eu-west-3",
        None,
        {"SecretId": arn, "VersionStage": "AWSPREVIOUS"},
    )
    assert (second.region, second.call.parameters["Name"]) == ("eu-west-1", "key")
