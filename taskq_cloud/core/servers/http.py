"""The addresses of stores that speak HTTP, and of accounts of Cosmos DB, as the adapters of such stores read them.

The requests themselves are made by ``clients.http`` and ``clients.cosmosdb``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, quote, unquote

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.urls import shown
from taskq_cloud.errors import ImproperlyConfigured

OPTIONS: Final = ("ca_file", "verify")
"""The options of a URL about TLS, which every adapter of such a store takes."""

_SWITCH: Final[Mapping[str, bool]] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class HTTPServer:
    """A server, and how to be known to it.

    Args:
        url: its address: ``"https://host:9200"``.
        user: the user's name; empty: the server asks for none.
        password: the password.
        api_key: the key for the header ``Authorization: ApiKey``, instead of a user.
        ca_file: the file of the authorities that are trusted; empty: those of the system.
        verify: whether the server's certificate is verified.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    ca_file: str = ""
    verify: bool = True

    @classmethod
    def of(cls, url: SplitResult, query: Mapping[str, str], *, port: int, tls: bool = False) -> HTTPServer:
        """Read the address of a URL whose scheme is the store's.

        Args:
            url: the URL.
            query: its options.
            port: the port, if the URL names none.
            tls: whether the address is one of HTTPS.

        Raises:
            ImproperlyConfigured: a part of the URL can't be read.
        """
        try:
            given = url.port
        except ValueError as error:
            raise ImproperlyConfigured(f"{shown(url)}: the port isn't a number from 0 to 65535") from error
        host = url.hostname or "localhost"
        if ":" in host:
            host = f"[{host}]"
        return cls(
            f"{'https' if tls else 'http'}://{host}:{given or port}",
            unquote(url.username or ""),
            unquote(url.password or ""),
            query.get("api_key", ""),
            query.get("ca_file", ""),
            switch(url, query, "verify", default=True),
        )


@dataclass(frozen=True, slots=True)
class CosmosAccount:
    """An account of Cosmos DB.

    Args:
        endpoint: its address: ``"https://ACCOUNT.documents.azure.com:443"``.
        key: its key; empty: azure-identity finds an identity.
        discovery: whether the account's other regions are used when one fails.
    """

    endpoint: str
    key: str = field(default="", repr=False)
    discovery: bool = True


def switch(url: SplitResult, query: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Read an option that is true or false.

    Raises:
        ImproperlyConfigured: it is neither.
    """
    value = query.get(name)
    if value is None:
        return default
    if value.lower() not in _SWITCH:
        raise ImproperlyConfigured(f"{shown(url)}: {name}={value!r} must be true or false")
    return _SWITCH[value.lower()]


def segment(name: str) -> str:
    """Encode a name as one segment of a request's path."""
    return quote(name, safe="")
