"""Creates an application's queues on RabbitMQ and its tables in PostgreSQL; Redis and most stores need nothing.

As on AWS, everything is looked for first, nothing is removed, and a second run changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

from taskq_cloud.brokers.rabbitmq import RabbitMQBroker
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.servers.postgresql import HasTables, operational_error
from taskq_cloud.deploy.doctor.observe_servers import App, compare_queue
from taskq_cloud.deploy.topology.model import Server, Topology
from taskq_cloud.errors import OperationalError, QueueNotFound

_NOTES: Final = {
    ("redis", "broker"): "Redis needs nothing to be created: a queue exists once it is used.",
    ("redis", "results"): "Redis needs nothing to be created: results are keys.",
}


class ServerProvisioner:
    """Creates what the servers of an application's messages and results lack.

    Args:
        topology: the declaration.
        app: the application, whose broker and store the calls are made by.
        dry_run: list the changes without making them.
    """

    def __init__(self, topology: Topology, app: App, *, dry_run: bool = False) -> None:
        self._topology = topology
        self._app = app
        self._dry_run = dry_run
        self.changes: list[str] = []
        """The changes that were made, or that a dry run would make, in order."""
        self.notes: list[str] = []
        """Sentences about servers on which nothing has to be created."""

    def run(self) -> Flow[list[str]]:
        """Create missing queues and tables.

        Returns:
            The changes, in order; an empty list if everything is there.

        Raises:
            AccessDenied: a permission is missing.
            OperationalError: a server can't be reached, or a queue is there with other arguments.
        """
        for server in self._topology.servers:
            for use in server.uses:
                adapter = self._app.broker if use.role == "broker" else self._app.store
                if isinstance(adapter, RabbitMQBroker):
                    yield from self._rabbitmq(server, adapter)
                elif server.kind == "postgresql" and isinstance(adapter, HasTables):
                    yield from self._postgresql(adapter, use.role)
                else:
                    self.notes.append(_NOTES.get((server.kind, use.role), _at_first_use(server, use.role)))
        return self.changes

    def _rabbitmq(self, server: Server, broker: RabbitMQBroker) -> Flow[None]:
        for queue in (name for each in server.queues for name in (each.queue, each.dead_letter_queue)):
            try:
                difference = yield from compare_queue(broker, queue)
            except QueueNotFound:
                if not self._dry_run:
                    yield from broker.provision(queue)
                self.changes.append(f"create queue {queue}")
            else:
                if difference:
                    raise OperationalError(difference)

    def _postgresql(self, adapter: Any, role: str) -> Flow[None]:
        [service] = adapter.services
        about = f"the tables of the {role}"
        statements: list[tuple[str, dict[str, Any]]] = [(adapter.schema[0], {})]
        try:
            [[there]] = yield Call(service, "query", {"statements": statements})
            if all(there.values()):
                return
            if not self._dry_run:
                yield Call(service, "query", {"statements": statements, "schema": adapter.schema})
        except CallError as error:
            raise operational_error(about, error) from error
        self.changes.append(f"create {about}")


def _at_first_use(server: Server, role: str) -> str:
    return f"The {role} on {server.kind} need nothing now: the first result creates missing tables and indexes."
