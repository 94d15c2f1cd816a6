"""How the client of Cassandra connects: the arguments of the driver's ``Cluster``, made of the options of a store."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.clients.base import shortest
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    import cassandra as sdk
except ImportError as error:
    raise MissingExtra("Cassandra", "cassandra") from error
try:
    from cassandra import auth, policies
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
    from cassandra.query import dict_factory
except sdk.DependencyException as error:  # Python 3.12 has no asyncore, and a driver that was built here may lack libev
    raise ImproperlyConfigured(
        f"the driver of Cassandra can't wait for its connections ({error}); install libev (libev-dev) and build "
        "cassandra-driver again, or install one of its wheels"
    ) from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 10.0

_PROTOCOL: Final = 4
"""The version of the protocol that every server since Cassandra 2.2 speaks; the driver would try higher ones first, on
one connection each."""


def arguments_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Make the arguments of the driver's ``Cluster``.

    Args:
        options: see ``clients.cassandra.open_client``.

    Raises:
        ValueError: ``cassandra.auth`` has no class of that name.
        Exception: whatever the driver and its classes raise over arguments that they don't take.
    """
    more = dict(options.get("options") or {})
    answer = shortest(ANSWER_TIMEOUT_SECONDS, options, parts=2)
    profile = ExecutionProfile(
        load_balancing_policy=more.pop("load_balancing_policy", None)
        or policies.TokenAwarePolicy(policies.DCAwareRoundRobinPolicy()),
        retry_policy=more.pop("default_retry_policy", None) or policies.FallthroughRetryPolicy(),
        request_timeout=answer,
        row_factory=dict_factory,
    )
    arguments: dict[str, Any] = {
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
        "protocol_version": _PROTOCOL,
        "connect_timeout": shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2),
        "control_connection_timeout": answer,
        # The descriptions of all tables of the cluster, which each process would read when it connects.
        "schema_metadata_enabled": False,
        "auth_provider": _provider(options),
    }
    if options.get("bundle"):
        arguments["cloud"] = {"secure_connect_bundle": options["bundle"]}
    else:
        arguments |= {"contact_points": list(options["hosts"]), "port": options["port"]}
        if options.get("tls"):
            context = ssl.create_default_context(cafile=options.get("ca_file") or None)
            if not options.get("verify", True):
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            arguments["ssl_context"] = context
    return arguments | more


def _provider(options: Mapping[str, Any]) -> Any:
    name = options.get("auth_provider")
    if name:
        kind = getattr(auth, name, None)
        if kind is None:
            raise ValueError(f"cassandra.auth has no class {name!r}")
        return kind(**(options.get("auth_kwargs") or {}))
    return auth.PlainTextAuthProvider(options["user"], options["password"]) if options.get("user") else None


def level_of(name: str) -> int:
    """The driver's number of a consistency level."""
    level: int = sdk.ConsistencyLevel.name_to_value[name]
    return level
