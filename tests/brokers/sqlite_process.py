"""The program of a process that uses an SQLite queue: ``python sqlite_process.py drain|hold|send <file> <queue>``.

It prints ``ready``, waits for a line, and then prints one JSON value a line.
"""

from __future__ import annotations

import json
import sys

from taskq_cloud.brokers.sqlite import SQLiteBroker
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.model.message import Acknowledge, Outgoing, Sent


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def drain(broker: SQLiteBroker, connections: Connections, queue: str) -> None:
    while deliveries := connections.run(broker.receive(queue, 10, 2, 600)):
        for each in deliveries:
            say([each.message_id, each.receive_count])
        settled = connections.run(broker.settle([Acknowledge(each) for each in deliveries]))
        assert settled == [None] * len(deliveries), settled


def hold(broker: SQLiteBroker, connections: Connections, queue: str) -> None:
    say([each.message_id for each in connections.run(broker.receive(queue, 10, 0, 60))])
    sys.stdin.readline()


def send(broker: SQLiteBroker, connections: Connections, queue: str) -> None:
    while True:
        answers = connections.run(broker.send(queue, [Outgoing(body="x" * 2000)] * 10))
        sent = [each.message_id for each in answers if isinstance(each, Sent)]
        assert len(sent) == len(answers), answers
        say(sent)


def main() -> None:
    action, path, queue = sys.argv[1:]
    broker = SQLiteBroker(path)
    connections = Connections(broker.services)
    say("ready")
    sys.stdin.readline()
    {"drain": drain, "hold": hold, "send": send}[action](broker, connections, queue)
    connections.close()


if __name__ == "__main__":
    main()
