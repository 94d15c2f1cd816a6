"""Counts the work of servers, which are paid by the hour: their price doesn't depend on the number of tasks.

No price is estimated, because it follows from the size of the server that somebody has chosen. The requests and bytes
here help to choose it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskq_cloud.deploy.costs.load import Load, Served
from taskq_cloud.deploy.costs.model import DOCUMENT_BYTES, message_bytes, messages_of, records_of

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class ServerWork:
    """The work of a server in one of its uses, a day.

    Args:
        use: what is on it: ``"messages"`` or ``"results"``.
        server: the server in words: ``"redis at cache:6379"``.
        requests: the requests, each a round trip.
        request_bytes: the bytes of the messages or records in them.
        held_bytes: the bytes of the results that are kept at a time, before compression; None: for ever, or messages.
    """

    use: str
    server: str
    requests: float
    request_bytes: float
    held_bytes: float | None


def server_work(served: Served, load: Load) -> list[ServerWork]:
    """Return the work of the servers that hold an application's messages and results."""
    found = []
    if served.broker_server is not None:
        found.append(_of_messages(served, load, served.broker_server))
    if served.results_server is not None and (served.stores_results or load.chord_size):
        found.append(_of_results(served, load, served.results_server))
    return found


def _of_messages(served: Served, load: Load, server: str) -> ServerWork:
    every = [messages_of(served, load, queue.tasks) for queue in served.queues]
    sends = sum(each.called / load.send_batch + each.followed for each in every)
    messages = sum(each.all for each in every)
    # A receive and a settlement for each request's messages.
    requests = sends + 2 * messages / load.messages_per_request
    return ServerWork("messages", server, requests, 2 * messages * message_bytes(load), None)


def _of_results(served: Served, load: Load, server: str) -> ServerWork:
    states, reads = records_of(served, load)
    size = DOCUMENT_BYTES + load.result_bytes
    kept = served.results_seconds
    held = None if kept is None else served.tasks * size * kept / _DAY_SECONDS
    return ServerWork("results", server, states + reads, (states + reads) * size, held)


def as_sentences(work: Sequence[ServerWork], tasks: float) -> list[str]:
    """Write the work of servers as sentences for people.

    Args:
        work: the work.
        tasks: tasks a day.
    """
    return [_sentence(each, tasks) for each in work]


def _sentence(work: ServerWork, tasks: float) -> str:
    each = f", {work.requests / tasks:,.1f} a task" if tasks else ""
    held = "" if work.held_bytes is None else f"; {work.held_bytes / 2**20:,.0f} MiB of results are kept at a time"
    return (
        f"Not in the sum: the server of the {work.use}, {work.server}, is paid by the hour. {work.requests:,.0f}"
        f" requests a day{each}, or {work.requests / _DAY_SECONDS:,.1f} a second on average, carry"
        f" {work.request_bytes / 2**20:,.0f} MiB{held}."
    )
