"""Settings as a person may see them: without passwords, keys and tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

MASK: Final = "*" * 8

HIDDEN_SETTINGS: Final = re.compile(
    "API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI", re.IGNORECASE
)
"""The names of settings whose values are secrets, as in Celery's documentation of ``app.conf.humanize``."""

_BROKER_URLS: Final = frozenset({"broker_url", "broker_read_url", "broker_write_url"})
_AMQP: Final = {"amqp": 5672, "amqps": 5671, "pyamqp": 5672}
_SIGNATURE: Final = re.compile(r"([?&]sig=)[^&;#]*", re.IGNORECASE)
_USUAL_PASSWORD: Final = re.compile(r"(://[^:@/]*:)([^@/]*)(@)")


def filter_hidden_settings(conf: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a copy of a configuration with a mask in place of its secrets."""
    return {key: _censored(key, value) for key, value in conf.items()}


def _censored(key: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return filter_hidden_settings(value)
    if not isinstance(key, str):
        return value
    if HIDDEN_SETTINGS.search(key):
        return MASK
    if key.lower() in _BROKER_URLS:
        return _shown_broker(value)
    if "backend" in key.lower():
        return sanitize_url(value)
    return value


def _shown_broker(value: Any) -> Any:
    """Return a broker's URL without its password; of several URLs, the first one.

    The defaults of a URL of AMQP are filled in, as Celery does it.
    """
    urls = value.split(";") if isinstance(value, str) else value
    url = urls[0] if isinstance(urls, list | tuple) and urls else value
    if not isinstance(url, str):
        return url
    split = urlsplit(url)
    if split.scheme not in _AMQP:
        return sanitize_url(url)
    host, vhost = quote(split.hostname or "localhost", safe=""), unquote(split.path[1:]) or "/"
    port = split.port or _AMQP[split.scheme]
    return f"{split.scheme}://{quote(unquote(split.username or 'guest'), safe='')}:{MASK}@{host}:{port}/{quote(vhost)}"


def sanitize_url(url: Any, mask: str = MASK) -> Any:
    """Return the URL of a result backend with a mask in place of its passwords.

    Several servers, several URLs, and Azure's connection strings are understood. A URL that can't be read is not shown.

    Args:
        url: the URL; other values are returned as they are.
        mask: the text in place of a password.
    """
    if not isinstance(url, str) or "://" not in url:
        return url
    try:
        return _sanitized(url, mask)
    except ValueError:
        return _USUAL_PASSWORD.sub(rf"\g<1>{mask}\3", url) if "@" in url else "<unparsable url>"


def _sanitized(url: str, mask: str) -> str:
    first, *others = url.split(";")
    if any("://" in other for other in others):
        return ";".join(str(sanitize_url(each.strip(), mask)) for each in (first, *others))
    scheme, _, rest = url.partition("://")
    if scheme == "azureblockblob":
        return f"{scheme}://{_redact_azure_connection_string(rest, mask)}"
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    separator = ";" if ";" in authority else "," if "," in authority else None
    servers = [each.strip() for each in authority.split(separator) if each.strip()] if separator else [authority]
    if "@" not in authority:
        return f"{scheme}://{(separator or '').join(servers)}{tail}"
    if len(servers) > 1 and _are_servers(servers):
        shown = (separator or "").join(_masked(server, mask) for server in servers)
        return f"{scheme}://{shown}{tail}"
    users, _, host = authority.rpartition("@")
    if "@" in users and ":" not in users:
        return f"{scheme}://{mask}@{host}{tail}"
    return f"{scheme}://{_masked(authority, mask)}{tail}"


def _are_servers(parts: list[str]) -> bool:
    """Return whether the parts of an authority are servers, and not a password that holds a separator."""
    for part in parts:
        user, at_sign, _ = part.rpartition("@")
        if (at_sign and ":" not in user) or (not at_sign and part.startswith(":")):
            return False
    return True


def _masked(server: str, mask: str) -> str:
    users, at_sign, host = server.rpartition("@")
    user, colon, _ = users.partition(":")
    return f"{user}{colon}{mask if colon else ''}{at_sign}{host}"


def _redact_azure_connection_string(connection_string: str, mask: str = "**") -> str:
    """Return a connection string of Azure Storage with a mask in place of its key and signatures."""
    parts = []
    for part in connection_string.split(";"):
        name, equals, value = part.partition("=")
        if equals and name.strip().lower() in ("accountkey", "sharedaccesssignature"):
            value = mask
        parts.append(name + equals + _SIGNATURE.sub(rf"\g<1>{mask}", value))
    return ";".join(parts)
