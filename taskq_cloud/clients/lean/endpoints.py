"""Where the lean driver sends requests: an endpoint, its certificates, and the troubles of connections to it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from taskq_cloud.clients.lean.signing import Keys

if TYPE_CHECKING:
    import ssl

LARGEST_POOL: Final = 200
"""The most connections that one client keeps; on an event loop, further calls wait."""

_URL: Final = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?/?")
_PORTS: Final = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """An endpoint's address.

    Args:
        scheme: ``http`` or ``https``.
        host: the host's name or address.
        port: the port.
        ca_bundle: the file, or folder, of the certificates that are trusted; None: those of the SDK.
    """

    scheme: str
    host: str
    port: int
    ca_bundle: str | None = None

    @property
    def authority(self) -> str:
        """The value of the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL, for errors."""
        return f"{self.scheme}://{self.authority}/"


class Target(NamedTuple):
    """What the requests of one client need.

    Args:
        service: the SDK's name of the service.
        region: the region that signatures name.
        endpoint: where the service is.
        given: whether the endpoint is a configured one, and not the region's.
        keys: the credentials; None: ``renewing`` has them.
        renewing: the SDK's credentials, which it renews; None: ``keys`` are the credentials.
        path_style: for S3: whether the bucket is always part of the path; None: as its name demands.
    """

    service: str
    region: str
    endpoint: Endpoint
    given: bool
    keys: Keys | None = None
    renewing: Any = None
    path_style: bool | None = None


def endpoint_of(url: str, ca_bundle: str | None) -> Endpoint | None:
    """Return the endpoint of a URL; None if the URL is malformed, or has more than a host and a port."""
    match = _URL.fullmatch(url)
    if match is None:
        return None
    scheme, host, port = match.groups()
    return Endpoint(scheme, host.strip("[]"), int(port or _PORTS[scheme]), ca_bundle)


class TransportError(Exception):
    """A request that got no answer.

    Args:
        code: the name of the SDK's exception for this failure.
        message: what has happened.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


NOT_CONNECTED: Final = (OSError, ValueError, OverflowError, IndexError)
"""What is raised for a connection that can't be opened, also over a text that can't be a host's name and a number that
can't be a port's: the latter's OverflowError becomes asyncio's IndexError where addresses are tried side by side."""


def not_connected(endpoint: Endpoint, error: Exception) -> TransportError:
    """The error for a connection that can't be opened."""
    if isinstance(error, TimeoutError):
        return TransportError("ConnectTimeoutError", f'Connect timeout on endpoint URL: "{endpoint.url}"')
    if type(error).__module__ == "ssl":
        return TransportError("SSLError", f"SSL validation failed for {endpoint.url} {error}")
    return TransportError("EndpointConnectionError", f'Could not connect to the endpoint URL: "{endpoint.url}"')


def no_answer(endpoint: Endpoint, error: Exception) -> TransportError:
    """The error for an answer whose next bytes don't come in time, or whose connection ends or turns into nonsense."""
    if isinstance(error, TimeoutError):
        return TransportError("ReadTimeoutError", f'Read timeout on endpoint URL: "{endpoint.url}"')
    why = f": {error}" if str(error) else ""
    return TransportError(
        "ConnectionClosedError",
        f'Connection was closed before we received a valid response from endpoint URL: "{endpoint.url}"{why}',
    )


def tls_context(endpoint: Endpoint) -> ssl.SSLContext | None:
    """Return the settings of TLS connections, which trust the certificates that the SDK trusts; None: there is no TLS.

    Raises:
        TransportError: the certificates can't be read.
    """
    if endpoint.scheme != "https":
        return None
    path = endpoint.ca_bundle or _certificates()
    try:
        return _trusting(path)
    except OSError as error:
        found = f"the certificates in {path!r} can't be read ({error})"
        way_out = "correct AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or the profile's ca_bundle"
        raise TransportError("SSLError", f"SSL validation failed for {endpoint.url}: {found}: {way_out}") from error


@cache
def _trusting(path: str) -> ssl.SSLContext:
    import ssl  # endpoints on loopback speak HTTP

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificates and host names
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if Path(path).is_dir():
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context


def _certificates() -> str:
    """The file that the SDK trusts if it is given none: certifi's, or its own."""
    try:
        from certifi import where
    except ImportError:
        from botocore.httpsession import where
    return str(where())
