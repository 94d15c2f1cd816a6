"""Reads a client's settings from the environment, where the environment is all that the SDK would read.

With keys in variables and no file of profiles, as in a Lambda function, the SDK would find what is found here, after
importing some 200 modules. Every other variable of AWS's, a file in ``~/.aws``, a proxy and a region that is not known
here leave the settings to the SDK. A test compares both.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any, Final

from taskq_cloud.clients.lean.endpoints import Target, endpoint_of
from taskq_cloud.clients.lean.signing import Keys

SERVICES: Final = ("sqs", "dynamodb", "s3")

_REGIONS: Final = (
    (re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-(central|(north|south)?(east|west)?)-\d"), "amazonaws.com"),
    (re.compile(r"us-gov-(east|west)-1"), "amazonaws.com"),
    (re.compile(r"cn-(north|northwest)-1"), "amazonaws.com.cn"),
)

_READ: Final = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_DEFAULT_REGION",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CA_BUNDLE",  # before REQUESTS_CA_BUNDLE
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_SQS",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_ENDPOINT_URL_S3",
    }
)
_FILES: Final = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
"""The files of profiles: the variable that names one, and where it is otherwise."""

_WITHOUT_EFFECT: Final = re.compile(
    # Other services' endpoints, what Lambda, ECS and their tools set for others, and what the SDK reads where there are
    # no keys, or for retries, which are not its own here.
    r"AWS_(ENDPOINT_URL_\w+|LAMBDA_\w+|XRAY_\w+|CONTAINER_\w+|EC2_METADATA_\w+|ECS_\w+|REGION|DEFAULT_OUTPUT|"
    r"EXECUTION_ENV|PAGER|RETRY_MODE|MAX_ATTEMPTS|METADATA_SERVICE_\w+|SAM_LOCAL|CLI_\w+)"
)
_OF_THE_SDK: Final = ("HTTP_PROXY", "HTTPS_PROXY")

_PROXIES_OF_THE_SYSTEM: Final = ("darwin", "win32")
"""Systems that have settings for proxies beside the variables."""


def target_of(service: str, options: Mapping[str, Any]) -> Target | None:
    """Return what a client's requests need; None: the SDK has to look.

    Args:
        service: the SDK's name of the service.
        options: the options that the client is opened with.
    """
    variables = os.environ
    if service not in SERVICES or not _is_plain(variables):
        return None
    region = options.get("region") or variables.get("AWS_DEFAULT_REGION") or ""
    given = options.get("endpoint_url") or _given_endpoint(service, variables)
    url = given or regional_endpoint(service, region)
    ca_bundle = variables.get("AWS_CA_BUNDLE", variables.get("REQUESTS_CA_BUNDLE"))
    endpoint = endpoint_of(url, ca_bundle) if url else None
    if endpoint is None or not is_known(region) or (ca_bundle is not None and not os.access(ca_bundle, os.R_OK)):
        return None
    keys = Keys(
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], variables.get("AWS_SESSION_TOKEN") or None
    )
    return Target(service, region, endpoint, bool(given), keys, path_style=path_style(options))


def path_style(options: Mapping[str, Any]) -> bool | None:
    """Return whether the bucket is always part of the path, given a client's options; None: as its name demands."""
    return {"path": True, "virtual": False}.get(options.get("addressing_style") or "auto")


def is_known(region: str) -> bool:
    """Whether the endpoints of a region are known here."""
    return any(pattern.fullmatch(region) for pattern, _ in _REGIONS)


def regional_endpoint(service: str, region: str) -> str | None:
    """Return the URL at which a service is in a region, as the SDK has it; None: it is not known here."""
    if (service, region) == ("s3", "us-east-1"):
        return "https://s3.amazonaws.com"
    for pattern, domain in _REGIONS:
        if pattern.fullmatch(region):
            return f"https://{service}.{region}.{domain}"
    return None


def is_observed() -> bool:
    """Whether another package has put code of its own into the SDK's calls, to trace them or to stand in for AWS.

    The X-Ray SDK, OpenTelemetry and Datadog wrap a method of the SDK's clients, and moto registers a handler.
    """
    for name, kind in (("botocore.client", "BaseClient"), ("aiobotocore.client", "AioBaseClient")):
        module = sys.modules.get(name)
        method = getattr(getattr(module, kind, None), "_make_api_call", None)
        if method is not None and not _is_of_the_sdk(method):
            return True
    handlers = getattr(sys.modules.get("botocore.handlers"), "BUILTIN_HANDLERS", ())
    return any(handler[0].startswith("before-send") for handler in handlers)


def _is_of_the_sdk(method: object) -> bool:
    return isinstance(method, FunctionType) and method.__globals__["__name__"].startswith(("botocore", "aiobotocore"))


def _is_plain(variables: Mapping[str, str]) -> bool:
    if sys.platform in _PROXIES_OF_THE_SYSTEM or is_observed():
        return False
    if not all(_is_usable(variables.get(name, "")) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")):
        return False
    if variables.get("AWS_SESSION_TOKEN") and not _is_usable(variables["AWS_SESSION_TOKEN"]):
        return False
    for name in variables:
        if name.startswith("AWS_") and name not in _READ and not _WITHOUT_EFFECT.fullmatch(name):
            return False
        if name.upper() in _OF_THE_SDK:
            return False
    return not any(_is_there(variables.get(name) or path) for name, path in _FILES)


def _is_there(path: str) -> bool:
    """Whether the SDK would read a file. Nothing is a file without a home folder, or in a folder that can't be read."""
    with suppress(OSError, RuntimeError):
        return Path(os.path.expandvars(path)).expanduser().is_file()
    return False


def _is_usable(text: str) -> bool:
    """Whether a text can be part of a header as it is."""
    return text.isascii() and text.isprintable() and bool(text) and " " not in text


def _given_endpoint(service: str, variables: Mapping[str, str]) -> str | None:
    return variables.get(f"AWS_ENDPOINT_URL_{service.upper()}") or variables.get("AWS_ENDPOINT_URL")
