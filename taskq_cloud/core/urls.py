"""URLs of brokers and stores: their parts, their secrets, and the registry of the adapters that serve them.

An adapter is made by its class method ``from_url(url, options)``, which gets the URL split into parts and decides what
may follow the scheme. The registry of each port lists its schemes; other packages add theirs as entry points.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.errors import ImproperlyConfigured

_CREDENTIALS: Final = re.compile(r"(?<=://)(?:[^/:@?]*:[^?]*|[^/?]*)@")
_SEVERAL: Final = re.compile(r"[;,]\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
"""The second of several URLs, as Celery separates them."""
_SECRET_PARAMETER: Final = re.compile(
    r"([?&;](?!key_format=)[^=&;]*(?:secret|password|token|key|credential|sig|sas)[^=&;]*=)[^&;]*", re.IGNORECASE
)


def query_of(url: SplitResult, known: Collection[str] = ()) -> dict[str, str]:
    """Read the options after a URL's ``?``.

    Args:
        url: the URL.
        known: the names of the options that the URL may have.

    Raises:
        ImproperlyConfigured: the URL has an option with another name.
    """
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    unknown = sorted(query.keys() - set(known))
    if unknown:
        names = ", ".join(sorted(known)) or "none"
        raise ImproperlyConfigured(f"unknown option {unknown[0]!r} in {shown(url)}; known: {names}")
    return query


def file_of(url: SplitResult) -> str:
    """Read the path of ``scheme:///relative/path`` or ``scheme:////absolute/path``, as SQLAlchemy writes them.

    Raises:
        ImproperlyConfigured: the URL has no path, or has a host.
    """
    path = unquote(url.path).removeprefix("/")
    if url.netloc or not path:
        raise ImproperlyConfigured(
            f"{shown(url)} names no file: write {url.scheme}:///relative/path or {url.scheme}:////absolute/path"
        )
    return path


def shown(url: SplitResult) -> str:
    """Write a URL for a log or an error, without its secrets."""
    return without_secrets(url.geturl())


def without_secrets(url: str) -> str:
    """Take a user's name and password, and the values of parameters that sound like secrets, out of a URL."""
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub("***@", url))


@dataclass(frozen=True, slots=True)
class Registry:
    """The adapters of one port, by the schemes of their URLs.

    Args:
        port: the port's name, for errors: ``"broker"``.
        known: scheme -> ``"module:Class"``; the module is imported when a URL first needs it.
        group: the entry-point group in which other packages name their adapters, one entry for each scheme.
    """

    port: str
    known: Mapping[str, str]
    group: str

    def open(self, url: str, options: Mapping[str, Any]) -> Any:
        """Make the adapter that serves a URL, without a call to any service.

        Args:
            url: the URL.
            options: the second argument of the adapter's ``from_url``.

        Raises:
            ImproperlyConfigured: the text isn't one URL, or no adapter has its scheme; the error names all schemes.
        """
        if _SEVERAL.search(url):
            raise ImproperlyConfigured(
                f"{without_secrets(url)} holds several URLs, but the {self.port} has one, without a failover: "
                "keep one of them"
            )
        try:
            split = urlsplit(url)
        except ValueError as error:
            raise ImproperlyConfigured(f"the URL of the {self.port} can't be read: {error}") from error
        found = self.known.get(split.scheme)
        if found is not None:
            module, _, name = found.partition(":")
            return getattr(import_module(module), name).from_url(split, options)
        from importlib.metadata import entry_points  # few applications use an adapter of another package

        # Entry points come last: reading the metadata of all installed packages takes longer than importing an adapter.
        others = {entry.name: entry for entry in entry_points(group=self.group)}
        if split.scheme in others:
            return others[split.scheme].load().from_url(split, options)
        schemes = ", ".join(f"{each}://" for each in sorted({*self.known, *others}))
        raise ImproperlyConfigured(f"no {self.port} serves {shown(split)!r}; known schemes: {schemes}")
