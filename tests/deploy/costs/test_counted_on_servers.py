"""The requests that a task makes of a server are those that ``taskq cost`` counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, Flow
from taskq_cloud.core.model.message import Acknowledge, Outgoing
from taskq_cloud.core.records.record import FINAL_VERSION, SUCCESS, Record
from taskq_cloud.deploy.costs.load import Load, QueueLoad, Served
from taskq_cloud.deploy.costs.servers import server_work

pytestmark = pytest.mark.slow


def recorded(flow: Flow[Any], calls: list[Any]) -> Flow[Any]:
    """Pass a flow's calls on, and keep them."""
    answer: Any = None
    while True:
        try:
            step = flow.send(answer)
        except StopIteration as ended:
            return ended.value
        if isinstance(step, Call):
            calls.append(step)
        answer = yield step


@pytest.mark.parametrize("system", ["postgresql", "rabbitmq", "redis"])
@pytest.mark.parametrize("batch", [1, 10])
def test_tasks_make_modelled_requests(system: str, batch: int, server_url: Callable[[str], str]) -> None:
    url = server_url(system) + ("/postgres" if system == "postgresql" else "")
    results = "disabled://" if system == "rabbitmq" else url
    app, queue = TaskQ("shop", broker=url, results=results), f"work-{uuid4().hex[:8]}"
    connections, requests, records = Connections(app.services()), list[Any](), list[Any]()
    try:
        connections.run(recorded(app.broker.send(queue, [Outgoing(body="x")] * batch), requests))
        deliveries = connections.run(recorded(app.broker.receive(queue, batch, 5, 60), requests))
        assert len(deliveries) == batch
        connections.run(recorded(app.broker.settle([Acknowledge(each) for each in deliveries]), requests))
        if results == url:
            task = uuid4().hex
            document = f'{{"status": "SUCCESS", "result": null, "task_id": "{task}"}}'
            connections.run(recorded(app.store.save([Record(task, SUCCESS, FINAL_VERSION, document, 4e9)]), records))
            assert connections.run(recorded(app.store.load([task]), records)).keys() == {task}
            connections.run(app.store.delete([task]))
    finally:
        connections.close()
        app.close()
    served = Served(
        broker="server",
        store="server",
        queues=(QueueLoad(name=queue, tasks=batch),),
        broker_server=system,
        results_server=system,
    )
    messages, stored = server_work(served, Load(send_batch=batch, messages_per_request=batch))
    assert len(requests) == messages.requests
    assert results != url or len(records) == stored.requests / batch
