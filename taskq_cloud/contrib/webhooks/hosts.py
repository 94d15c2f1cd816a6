"""The list of hosts that a webhook may call.

A task's arguments may come from anybody who can send a message. Without the list, such a message could have a worker
call addresses that only the worker can reach, such as a cloud's metadata service (OWASP, "Server-Side Request
Forgery").
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from taskq_cloud.core.urls import without_secrets
from taskq_cloud.errors import ImproperlyConfigured, TaskQError

_PORTS: Final = {"http": 80, "https": 443}


class WebhookRefused(TaskQError, ValueError):
    """A URL that a webhook may not call; nothing was sent, and a retry would not help."""


class AllowedHosts:
    """The hosts that webhooks may call, each with its port.

    Args:
        hosts: ``"api.example.com"`` is that host at the port of its scheme; ``"*.example.com"`` is every host below
            ``example.com``, and not ``example.com`` itself; ``"api.example.com:8443"`` is another port.
        http: whether plain ``http://`` URLs are allowed, which anybody on the way can read and change.

    Raises:
        ImproperlyConfigured: the list is empty, or an entry isn't a host.
    """

    def __init__(self, hosts: Collection[str], *, http: bool = False) -> None:
        if isinstance(hosts, str) or not hosts:
            raise ImproperlyConfigured(
                f"webhook hosts must be a list of host names such as ['api.example.com'], and not {hosts!r}"
            )
        self._hosts = [_entry(host) for host in hosts]
        self._http = http

    def check(self, url: str) -> None:
        """Check that a webhook may call a URL.

        Raises:
            WebhookRefused: it may not; the error says why.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError as error:
            raise WebhookRefused(f"the webhook's URL can't be read: {error}") from error
        reason = self._reason(parts, port)
        if reason:
            raise WebhookRefused(f"the webhook {without_secrets(url)!r:.200} is refused: {reason}")

    def _reason(self, parts: SplitResult, port: int | None) -> str | None:
        if parts.scheme != "https" and not (parts.scheme == "http" and self._http):
            return "its scheme must be https" + ("" if not self._http else " or http")
        if parts.username is not None or parts.password is not None:
            return "it holds a user's name or password: send an Authorization header instead"
        host = (parts.hostname or "").rstrip(".")
        if not any(_fits(host, port, parts.scheme, entry) for entry in self._hosts):
            return f"{host or 'a URL without a host'} at port {port} isn't in the list of allowed hosts"
        return None


def _entry(host: str) -> tuple[str, int | None]:
    name, colon, port = host.lower().partition(":")
    bare = name.removeprefix("*.")
    if not bare or any(character in bare for character in "*/@ ") or (colon and not port.isdigit()):
        raise ImproperlyConfigured(
            f"webhook host {host!r} isn't a host: write 'api.example.com', '*.example.com' or 'api.example.com:8443'"
        )
    return name, int(port) if colon else None


def _fits(host: str, port: int | None, scheme: str, entry: tuple[str, int | None]) -> bool:
    name, allowed_port = entry
    if port != (allowed_port or _PORTS[scheme]):
        return False
    return host.endswith(name[1:]) and host != name[2:] if name.startswith("*.") else host == name
