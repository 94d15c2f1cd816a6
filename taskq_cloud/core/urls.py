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

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.errors import ImproperlyConfigured

_CREDENTIALS: Final = re.compile(r"(?<=://)(?:[^/:@?]*:[^?]*|[^/?]*)@")
_SEVERAL: Final = re.compile(r"[;,]\s*(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
"""What separates several URLs, in Celery's settings."""
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


def alternatives(url: str) -> list[str]:
    """Split a setting into the URLs that it holds, as Celery separates them: by ``;``, or by a comma."""
    return _SEVERAL.split(url.strip().rstrip(";"))


@dataclass(frozen=True, slots=True)
class Registry:
    """The adapters of one port, by the schemes of their URLs.

    Args:
        port: the port's name, for errors: ``"broker"``.
        known: scheme -> ``"module:Class"``; the module is imported when a URL first needs it.
        group: the entry-point group in which other packages name their adapters, one entry for each scheme.
        families: the beginning of a scheme, up to its ``+`` -> ``"module:Class"``: ``db+mysql://`` is one of ``db``.
    """

    port: str
    known: Mapping[str, str]
    group: str
    families: Mapping[str, str] = field(default_factory=dict)

    def open(self, url: str, options: Mapping[str, Any]) -> Any:
        """Make the adapter that serves a URL, without a call to any service.

        Several URLs of one system, separated by ``;``, are alternatives: an adapter whose servers share their contents
        has a class method ``from_urls(urls, options)``, and uses the next server when one can't be reached.

        Args:
            url: the URL, or several.
            options: the second argument of the adapter's ``from_url``.

        Raises:
            ImproperlyConfigured: the text isn't a URL, no adapter has its scheme, or several URLs are no alternatives;
                the error names all schemes.
        """
        splits = [self._split(each) for each in alternatives(url)]
        if len(splits) == 1:
            return self.adapter(splits[0]).from_url(splits[0], options)
        [path, *others] = {self._path(split) for split in splits}
        adapter = None if path is None or others else self.adapter(splits[0])
        if adapter is None or not hasattr(adapter, "from_urls"):
            raise ImproperlyConfigured(
                f"{without_secrets(url)} holds several URLs, but the {self.port} has one, without a failover: "
                "keep one of them"
            )
        return adapter.from_urls(splits, options)

    def adapter(self, url: SplitResult) -> Any:
        """Import the class of the adapter that serves a URL.

        Raises:
            ImproperlyConfigured: no adapter has the URL's scheme, and the error names all schemes; or a package of a
                function was built without the adapter.
        """
        found = self._path(url)
        if found is not None:
            module, _, name = found.partition(":")
            try:
                return getattr(import_module(module), name)
            except ModuleNotFoundError as error:
                if not str(error.name).startswith("taskq_cloud."):
                    raise
                raise ImproperlyConfigured(
                    f"this package was built without the adapter for {url.scheme}://: build it with "
                    "taskq package --extra NAME; docs/packaging.md has the names"
                ) from error
        from importlib.metadata import entry_points  # few applications use an adapter of another package

        # Entry points come last: reading the metadata of all installed packages takes longer than importing an adapter.
        others = {entry.name: entry for entry in entry_points(group=self.group)}
        if url.scheme in others:
            return others[url.scheme].load()
        families = {f"{each}+..." for each in self.families}
        schemes = ", ".join(f"{each}://" for each in sorted({*self.known, *others, *families}))
        raise ImproperlyConfigured(f"no {self.port} serves {shown(url)!r}; known schemes: {schemes}")

    def _path(self, url: SplitResult) -> str | None:
        """Where an adapter of this package is; None: it is another package's, or nobody's."""
        return self.known.get(url.scheme) or self.families.get(url.scheme.partition("+")[0])

    def _split(self, url: str) -> SplitResult:
        if "://" not in url and url in self.known:  # Celery's names of backends without an address
            url = f"{url}://"
        try:
            return urlsplit(url)
        except ValueError as error:
            raise ImproperlyConfigured(f"the URL of the {self.port} can't be read: {error}") from error
