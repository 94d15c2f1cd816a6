"""Names of workers: ``name@host``."""

import os
import socket
from functools import partial
from typing import Any

from taskq_cloud.celery.messaging import Exchange, Queue, is_queue

from ._caching import memoize
from .text import simple_format

__all__ = (
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
)

#: The exchange of the queues that belong to one worker.
WORKER_DIRECT_EXCHANGE = Exchange("C.dq2")

#: The name of the queue of one worker.
WORKER_DIRECT_QUEUE_FORMAT = "{hostname}.dq2"

#: Stands between a worker's name and its host.
NODENAME_SEP = "@"

NODENAME_DEFAULT = "celery"


class _Cache(dict[Any, Any]):
    """A cache without a limit, for a function that has one result."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()


gethostname = memoize(1, Cache=_Cache)(socket.gethostname)


def worker_direct(hostname: Any) -> Any:
    """Return the queue of one worker; a queue is returned as it is."""
    if is_queue(hostname):
        return hostname
    return Queue(WORKER_DIRECT_QUEUE_FORMAT.format(hostname=hostname), WORKER_DIRECT_EXCHANGE, hostname)


def nodename(name: str, hostname: str) -> str:
    """Return a worker's full name."""
    return NODENAME_SEP.join((name, hostname))


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """Return a name for this process, which isn't a worker: messages that it sends have it as their origin."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def nodesplit(name: str) -> Any:
    """Return the name and the host of a worker; the name is None if there is a host only."""
    parts = name.split(NODENAME_SEP, 1)
    return parts if len(parts) > 1 else (None, parts[0])


def default_nodename(hostname: str | None, default_name: str = NODENAME_DEFAULT) -> str:
    """Return a worker's full name, with the defaults for the parts that ``hostname`` lacks."""
    name, host = nodesplit(hostname or "")
    return nodename(name or default_name, host or gethostname())


def node_format(s: str, name: str, **extra: Any) -> str:
    """Return the text with ``%n``, ``%h`` and so on replaced by parts of a worker's name, and ``%p`` by the whole."""
    short, host = nodesplit(name)
    return host_format(s, host, short or NODENAME_DEFAULT, p=name, **extra)


def _fmt_process_index(prefix: str = "", default: str = "0") -> str:
    from .log import current_process_index

    index = current_process_index()
    return f"{prefix}{index}" if index else default


_fmt_process_index_with_prefix = partial(_fmt_process_index, "-", "")


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """Return the text with ``%h`` (host), ``%n`` (name), ``%d`` (domain), ``%i`` and ``%I`` (process) replaced."""
    host = host or gethostname()
    host_name, _, domain = host.partition(".")
    keys: dict[str, Any] = {
        "h": host,
        "n": name or host_name,
        "d": domain,
        "i": _fmt_process_index,
        "I": _fmt_process_index_with_prefix,
    }
    return simple_format(s, keys | extra)
