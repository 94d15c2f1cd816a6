"""URLs of brokers and result stores: how they are written, and which class serves one.

An adapter has ``from_url(url, options)``; the URL comes split, and what it accepts after the scheme is its own
business. Which schemes there are is each registry's; packages add theirs as entry points.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from taskq_cloud.errors import ImproperlyConfigured

_CREDENTIALS: Final = re.compile(r"(?<=://)(?:[^/:@?]*:[^?]*|[^/?]*)@")
_SECRET_PARAMETER: Final = re.compile(
    r"([?&;](?!key_format=)[^=&;]*(?:secret|password|token|key|credential|sig|sas)[^=&;]*=)[^&;]*", re.IGNORECASE
)


def query_of(url: SplitResult, known: Collection[str] = ()) -> dict[str, str]:
    """The options after a URL's ``?``.

    Args:
        url: the URL.
        known: the names that may stand there.

    Raises:
        ImproperlyConfigured: another name stands there.
    """
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    unknown = sorted(query.keys() - set(known))
    if unknown:
        names = ", ".join(sorted(known)) or "none"
        raise ImproperlyConfigured(f"unknown option {unknown[0]!r} in {shown(url)}; known: {names}")
    return query


def file_of(url: SplitResult) -> str:
    """The path in ``scheme:///relative/path`` or ``scheme:////absolute/path``, SQLAlchemy's way of writing the two.

    Raises:
        ImproperlyConfigured: there is no path, or a host where it should begin.
    """
    path = unquote(url.path).removeprefix("/")
    if url.netloc or not path:
        raise ImproperlyConfigured(
            f"{shown(url)} names no file: write {url.scheme}:///relative/path or {url.scheme}:////absolute/path"
        )
    return path


def shown(url: SplitResult) -> str:
    """A URL as it may stand in a log or an error: ``without_secrets``."""
    return without_secrets(url.geturl())


def without_secrets(url: str) -> str:
    """A URL fit to be shown: without a user's name and password, and without parameters that sound like secrets."""
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub("***@", url))


@dataclass(frozen=True, slots=True)
class Registry:
    """The adapters of one port.

    Args:
        port: what they are, for errors: ``"broker"``.
        known: scheme -> ``"module:Class"``; imported when a URL first asks for it.
        group: the entry-point group in which packages name theirs, scheme by scheme.
    """

    port: str
    known: Mapping[str, str]
    group: str

    def open(self, url: str, options: Mapping[str, Any]) -> Any:
        """The adapter that serves ``url``; no call is made.

        Args:
            url: the URL.
            options: given to the class's ``from_url`` beside it.

        Raises:
            ImproperlyConfigured: it is no URL, or no adapter has its scheme; names those there are.
        """
        try:
            split = urlsplit(url)
        except ValueError as error:
            raise ImproperlyConfigured(f"the URL of the {self.port} can't be read: {error}") from error
        found = self.known.get(split.scheme)
        if found is not None:
            module, _, name = found.partition(":")
            return getattr(import_module(module), name).from_url(split, options)
        # Looked up last: reading the metadata of all installed packages takes longer than importing an adapter.
        others = {entry.name: entry for entry in entry_points(group=self.group)}
        if split.scheme in others:
            return others[split.scheme].load().from_url(split, options)
        schemes = ", ".join(f"{each}://" for each in sorted({*self.known, *others}))
        raise ImproperlyConfigured(f"no {self.port} serves {shown(split)!r}; there are {schemes}")
