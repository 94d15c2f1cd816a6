"""Takes a client's settings from the SDK, which has found them in profiles, files, roles or the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.clients.lean.endpoints import Target, endpoint_of
from taskq_cloud.clients.lean.environment import SERVICES, is_known, is_observed, path_style, regional_endpoint

_SIGNATURES: Final = ("v4", "s3v4")
_UNUSUAL: Final = ("use_fips_endpoint", "use_dualstack_endpoint")
_UNUSUAL_WITH_S3: Final = (
    "use_accelerate_endpoint",
    "use_dualstack_endpoint",
    "payload_signing_enabled",
    "us_east_1_regional_endpoint",
)


def target_of(service: str, options: Mapping[str, Any], session: Any, client: Any, credentials: Any) -> Target | None:
    """Return what a client's requests need; None: a setting asks for what only the SDK can do.

    Args:
        service: the SDK's name of the service.
        options: the options that the client was opened with.
        session: the session of botocore or aiobotocore.
        client: the client that it has opened.
        credentials: the session's credentials; None: there are none.
    """
    region, url = client.meta.region_name or "", client.meta.endpoint_url
    if service not in SERVICES or credentials is None or is_observed() or not is_known(region):
        return None
    endpoint = endpoint_of(url, session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE"))
    if endpoint is None or not _is_plain(service, session, client.meta.config, url):
        return None
    given = url != regional_endpoint(service, region)
    return Target(service, region, endpoint, given, path_style=path_style(options))


def _is_plain(service: str, session: Any, config: Any, url: str) -> bool:
    account_mode = session.get_config_variable("account_id_endpoint_mode")
    return (
        config.signature_version in _SIGNATURES
        and not any(session.get_config_variable(name) for name in _UNUSUAL)
        and not (service == "dynamodb" and account_mode == "required")
        and (service != "s3" or _is_plain_s3(session, config))
        and not config.client_cert
        and not _uses_proxy(url, config.proxies)
    )


def _is_plain_s3(session: Any, config: Any) -> bool:
    settings = {**(session.get_config_variable("s3") or {}), **(config.s3 or {})}
    checksums = (config.request_checksum_calculation, config.response_checksum_validation)
    return not any(settings.get(name) not in (None, False, "legacy") for name in _UNUSUAL_WITH_S3) and all(
        each in (None, "when_supported") for each in checksums
    )


def _uses_proxy(url: str, proxies: Mapping[str, str] | None) -> bool:
    from botocore.utils import get_environ_proxies

    scheme = url.partition(":")[0]
    return bool((proxies if proxies is not None else get_environ_proxies(url)).get(scheme))
