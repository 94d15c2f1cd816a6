"""Tests of where the lean driver takes its settings from, compared with the SDK, and of what it leaves to the SDK."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore import handlers
from botocore.client import BaseClient
from botocore.config import Config
from botocore.session import Session

from taskq_cloud import TaskQ
from taskq_cloud.clients import aws, aws_sdk
from taskq_cloud.clients.lean import environment
from taskq_cloud.clients.lean.endpoints import Target
from taskq_cloud.clients.lean.s3_protocol import S3Protocol
from taskq_cloud.clients.lean.signing import Keys
from taskq_cloud.core.flows import Call

SERVICES = environment.SERVICES
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
PLAIN = {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1"}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Set only the variables of a plain environment; the home folder is empty."""
    for name in list(os.environ):
        if name.startswith("AWS_") or "PROXY" in name.upper() or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    for name, value in {**PLAIN, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def of_the_sdk(service: str, **options: Any) -> Target | None:
    client = aws_sdk.open_client(service, options)
    target = client.target(service, options)
    client.close()
    if target is None:
        return None
    return target._replace(keys=client.keys(Call(service, "x")))


def regions() -> list[str]:
    session = aws_sdk.with_shared_models(Session())
    return [
        region for part in session.get_available_partitions() for region in session.get_available_regions("sqs", part)
    ]


def test_endpoints_of_known_regions_are_the_sdks() -> None:
    known = [region for region in regions() if environment.is_known(region)]
    assert {"eu-west-1", "us-east-1", "ap-southeast-7", "us-gov-east-1", "cn-northwest-1"} <= set(known)
    assert len(known) >= 36
    assert not any(environment.is_known(region) for region in ("us-iso-east-1", "eusc-de-east-1", "us-east-1-fips", ""))
    session = aws_sdk.with_shared_models(Session())
    for service in SERVICES:
        for region in ("us-east-1", "eu-west-1", "ap-southeast-7", "us-gov-west-1", "cn-north-1", "mx-central-1"):
            client = session.create_client(service, region_name=region)
            assert environment.regional_endpoint(service, region) == client.meta.endpoint_url
            client.close()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"AWS_SESSION_TOKEN": "token+/="},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SQS": "https://sqs.example.com:8443"},
        {"AWS_CA_BUNDLE": __file__},
        {"REQUESTS_CA_BUNDLE": __file__},
        {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_REGION": "eu-west-1", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"},
        {"AWS_MAX_ATTEMPTS": "7", "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_STS": "http://sts"},
        {"AWS_CONFIG_FILE": "/nowhere/config", "AWS_SHARED_CREDENTIALS_FILE": os.devnull},
    ],
    ids=lambda more: ",".join(more) or "nothing",
)
def test_plain_environment_is_read_as_by_the_sdk(
    service: str, more: Mapping[str, str], variables: pytest.MonkeyPatch
) -> None:
    for name, value in more.items():
        variables.setenv(name, value)
    target = environment.target_of(service, {})
    assert target is not None
    assert target == of_the_sdk(service)._replace(keys=target.keys)  # type: ignore[union-attr]
    assert target.keys == Keys("id", "secret", more.get("AWS_SESSION_TOKEN"))
    assert tuple(of_the_sdk(service).keys) == tuple(target.keys)  # type: ignore[union-attr, arg-type]


LEFT = {
    "profile": {"AWS_PROFILE": "shop"},
    "variable that is not known": {"AWS_SOMETHING_NEW": "1"},
    "FIPS": {"AWS_USE_FIPS_ENDPOINT": "true"},
    "expiry": {"AWS_CREDENTIAL_EXPIRATION": "2030-01-01T00:00:00Z"},
    "old token": {"AWS_SECURITY_TOKEN": "token"},
    "proxy": {"https_proxy": "http://proxy:3128"},
    "no secret": {"AWS_SECRET_ACCESS_KEY": ""},
    "line break in the key": {"AWS_ACCESS_KEY_ID": "id\r\nX-Evil: 1"},
    "region that is not known": {"AWS_DEFAULT_REGION": "us-iso-east-1"},
    "no region": {"AWS_DEFAULT_REGION": ""},
    "malformed endpoint": {"AWS_ENDPOINT_URL": "http://"},
    "endpoint with a path": {"AWS_ENDPOINT_URL": "http://host/path"},
    "missing certificates": {"AWS_CA_BUNDLE": "/nowhere/ca.pem"},
}


@pytest.mark.parametrize("name", list(LEFT))
def test_unusual_environment_is_left_to_the_sdk(name: str, variables: pytest.MonkeyPatch) -> None:
    for variable, value in LEFT[name].items():
        variables.setenv(variable, value)
    assert environment.target_of("sqs", {}) is None


@pytest.mark.parametrize("file", ["config", "credentials"])
def test_files_of_profiles_are_left_to_the_sdk(file: str, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / file).write_text("[default]\nregion = eu-central-1\n")
    assert environment.target_of("sqs", {}) is None


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_file_of_profiles_is_named_with_variables_as_for_the_sdk(
    variable: str, tmp_path: Path, variables: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles").write_text("[default]\nregion = eu-central-1\n")
    variables.setenv("FOLDER", str(tmp_path))
    variables.setenv(variable, "$FOLDER/nothing")
    assert environment.target_of("sqs", {}) is not None
    variables.setenv(variable, "$FOLDER/profiles")
    assert environment.target_of("sqs", {}) is None


def test_folder_in_place_of_a_file_of_profiles_is_none_as_for_the_sdk(tmp_path: Path) -> None:
    (tmp_path / ".aws" / "config").mkdir(parents=True)
    assert environment.target_of("sqs", {}) == of_the_sdk("sqs")


UNFIT = {"a name that is too long": "/" + "x" * 300, "the home of an unknown user": "~nobody-of-this-name/config"}
"""Paths that raise an error where a file is looked for, as one in a folder does that this user may not read."""


@pytest.mark.parametrize("path", list(UNFIT.values()), ids=list(UNFIT))
def test_path_that_cannot_be_looked_at_is_no_file_as_for_the_sdk(path: str, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("AWS_CONFIG_FILE", path)
    target = environment.target_of("sqs", {})
    assert target is not None
    assert target == of_the_sdk("sqs")


def test_certificates_that_cannot_be_looked_at_are_left_to_the_sdk(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("AWS_CA_BUNDLE", "/" + "x" * 300)
    assert environment.target_of("sqs", {}) is None


def test_profile_of_the_sdk_is_used_by_the_lean_driver(tmp_path: Path, variables: pytest.MonkeyPatch) -> None:
    (tmp_path / ".aws").mkdir()
    config = "[profile shop]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:9\nca_bundle = /ca.pem\n"
    (tmp_path / ".aws" / "config").write_text(config)
    keys = "[shop]\naws_access_key_id = mine\naws_secret_access_key = own\naws_session_token = t\n"
    (tmp_path / ".aws" / "credentials").write_text(keys)
    variables.setenv("AWS_PROFILE", "shop")
    for name in PLAIN:
        variables.delenv(name)
    found = of_the_sdk("sqs")
    assert found is not None
    assert (found.region, found.endpoint.url, found.given) == ("eu-central-1", "http://127.0.0.1:9/", True)
    assert (found.keys, found.endpoint.ca_bundle) == (Keys("mine", "own", "t"), "/ca.pem")


@pytest.mark.parametrize(
    ("service", "more"),
    [
        ("sqs", {"AWS_USE_FIPS_ENDPOINT": "true"}),
        ("sqs", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        ("sqs", {"HTTPS_PROXY": "http://proxy:3128"}),
        ("dynamodb", {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "required", "AWS_ACCOUNT_ID": "123456789012"}),
        ("s3", {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}),
        ("s3", {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "regional"}),
        ("sqs", {"AWS_DEFAULT_REGION": "us-iso-east-1"}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_unusual_setting_of_the_sdk_keeps_all_calls_with_it(
    service: str, more: dict[str, str], variables: pytest.MonkeyPatch
) -> None:
    for name, value in more.items():
        variables.setenv(name, value)
    assert of_the_sdk(service) is None


def test_proxy_that_is_not_for_the_endpoint_does_not_matter(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("HTTPS_PROXY", "http://proxy:3128")
    variables.setenv("NO_PROXY", "amazonaws.com")
    assert of_the_sdk("sqs") is not None


def test_sdk_without_credentials_keeps_all_calls(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in KEYS:
        variables.delenv(name)
    assert aws_sdk.open_client("sqs", {}).target("sqs", {}) is None


def test_traced_sdk_keeps_all_calls(variables: pytest.MonkeyPatch) -> None:
    assert not environment.is_observed()
    client_class: Any = BaseClient
    wrapped = client_class._make_api_call

    def traced(*arguments: Any, **more: Any) -> Any:
        return wrapped(*arguments, **more)

    variables.setattr(BaseClient, "_make_api_call", traced)
    assert environment.is_observed()
    assert environment.target_of("sqs", {}) is None
    assert of_the_sdk("sqs") is None


def test_sdk_that_stands_in_for_aws_keeps_all_calls(variables: pytest.MonkeyPatch) -> None:
    variables.setattr(handlers, "BUILTIN_HANDLERS", [*handlers.BUILTIN_HANDLERS, ("before-send", print)])
    assert environment.target_of("sqs", {}) is None


def test_lean_driver_is_off_where_the_option_says_so() -> None:
    client = aws.open_client("sqs", {"lean": False})
    assert client._lean is None
    client.close()


def test_setting_turns_the_lean_driver_off() -> None:
    for lean in (True, False):
        app = TaskQ("shop", broker="sqs://eu-west-1/", results="dynamodb://results", aws_lean_client=lean)
        services = app.services()
        assert [dict(service.options).get("lean", True) for service in services.values()] == [lean, lean]
        app.close()


@pytest.mark.parametrize("endpoint", [None, "http://minio:9000", "http://127.0.0.1:9000", "https://s3.example.com"])
@pytest.mark.parametrize("style", ["auto", "path", "virtual"])
def test_object_is_addressed_as_by_the_sdk(endpoint: str | None, style: str) -> None:
    options = {"endpoint_url": endpoint, "addressing_style": style, "region": "eu-west-1"}
    lean = aws.open_client("s3", options)._lean
    assert lean is not None
    assert isinstance(lean._wire, S3Protocol)
    settings: Any = {"addressing_style": style}
    config = Config(s3=settings)
    client: Any = aws_sdk.with_shared_models(Session()).create_client("s3", endpoint_url=endpoint, config=config)
    urls: list[str] = []

    def note(request: Any, **_: Any) -> None:
        urls.append(request.url)
        raise InterruptedError

    client.meta.events.register("before-send", note)
    for bucket in ("bucket", "buck.et"):
        for key in ("a", "a/b c/", "\u00fc~+?%'()*!&=@:,;$", "..a", "a."):
            place = lean._wire._place(bucket, key)
            with pytest.raises(InterruptedError):
                client.get_object(Bucket=bucket, Key=key)
            if place is None:
                assert (style, bucket) == ("virtual", "buck.et")
            else:
                assert place[0].url.removesuffix("/") + place[1] == urls[-1]
    client.close()


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("bucket--euw1-az1--x-s3", "k"),
        ("point-s3alias", "k"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/p", "k"),
        ("Bucket", "k"),
        ("bucket", ""),
        ("bucket", "/k"),
        ("bucket", "a//b"),
        ("bucket", "a/../b"),
        ("bucket", "."),
        ("bucket", "a/."),
    ],
)
def test_unusual_bucket_or_key_is_left_to_the_sdk(bucket: str, key: str) -> None:
    lean = aws.open_client("s3", {})._lean
    assert lean is not None
    assert lean._wire.request(Call("s3", "get_object", {"Bucket": bucket, "Key": key}), Keys("a", "b")) is None


@pytest.mark.parametrize(
    "more",
    [
        {"Metadata": {"a": "\u00fc"}},
        {"Metadata": {"a": "x\r\nx-evil: 1"}},
        {"Metadata": {"a b": "c"}},
        {"Metadata": {"a": " c"}},
        {"IfMatch": "x\r\n"},
        {"Body": "text"},
        {"Body": bytearray(b"1")},
        {"StorageClass": "GLACIER"},
    ],
)
def test_unusual_parameter_of_a_write_is_left_to_the_sdk(more: dict[str, Any]) -> None:
    lean = aws.open_client("s3", {})._lean
    assert lean is not None
    call = Call("s3", "put_object", {"Bucket": "bucket", "Key": "k", "Body": b"", **more})
    assert lean._wire.request(call, Keys("a", "b")) is None
