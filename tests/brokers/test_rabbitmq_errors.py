"""Tests of RabbitMQ's refusals: passwords, virtual hosts, permissions, arguments of queues, alarms, timeouts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest

from emulators.ports import free_port
from emulators.process import Emulator
from emulators.servers import server
from taskq_cloud import TaskQ
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.clients.base import with_longest_call
from taskq_cloud.core.flows import Call, Flow
from taskq_cloud.core.model.message import Acknowledge, Outgoing, Refused, Release, Sent
from taskq_cloud.core.ports import Broker
from taskq_cloud.deploy.doctor import checks_server, observe_servers
from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.provision_servers import ServerProvisioner
from taskq_cloud.deploy.topology.model import Topology
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, Unreachable
from taskq_cloud.testing.contracts.receiving import take
from taskq_cloud.testing.driving import Drive, driving
from taskq_cloud.testing.waiting import until
from tests.servers import require_server

pytestmark = pytest.mark.slow

COLOURS = ("sync", "async")
DEFINITIONS = {
    "vhosts": [{"name": "/"}, {"name": "shop"}],
    "users": [
        {"name": "guest", "password": "guest", "tags": "administrator"},
        {"name": "reader", "password": "secret-r", "tags": ""},
        {"name": "nobody", "password": "secret-n", "tags": ""},
    ],
    "permissions": [
        {"user": "guest", "vhost": each, "configure": ".*", "write": ".*", "read": ".*"} for each in ("/", "shop")
    ]
    + [{"user": "reader", "vhost": "/", "configure": "", "write": "", "read": ".*"}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps its data."""
    return tmp_path_factory.mktemp("strict")


@pytest.fixture(scope="module")
def strict(folder: Path) -> Iterator[Emulator]:
    """A server with users of few permissions, that lets nobody keep a delivery for long."""
    require_server("rabbitmq")
    folder.chmod(0o755)
    (folder / "definitions.json").write_text(json.dumps(DEFINITIONS))
    (folder / "rabbitmq.conf").write_text(
        f"log.console.level = error\nload_definitions = {folder / 'definitions.json'}\nconsumer_timeout = 1000\n"
    )
    with server("rabbitmq", folder) as started:
        # It looks for deliveries over their time once a minute, and no file of settings changes that.
        control(started, folder, "eval", "application:set_env(rabbit, channel_tick_interval, 500).")
        yield started


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def unused_port() -> int:
    return free_port()


def control(strict: Emulator, folder: Path, *command: str) -> str:
    """Tell the server something by its own tool, and return what that says."""
    environment = {
        **os.environ,
        "HOME": str(folder),
        "ERL_EPMD_PORT": (folder / "epmd_port").read_text(),
        "RABBITMQ_NODENAME": f"taskq{strict.port}@localhost",
    }
    program = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", *command]
    return subprocess.run(program, env=environment, check=True, capture_output=True, text=True).stdout


def at(strict: Emulator, user: str = "guest:guest", path: str = "", **options: Any) -> Broker:
    return broker_from_url(f"amqp://{user}@127.0.0.1:{strict.port}{path}", options)


def fails(broker: Broker, colour: str, kind: type[Exception], *parts: str) -> None:
    with driving(colour, broker.services) as run, pytest.raises(kind) as caught:
        run(broker.send("orders", [Outgoing(body="x")]))
    for part in (*parts, "orders", "127.0.0.1"):
        assert part in str(caught.value)
    assert "secret" not in str(caught.value)


def test_wrong_password_is_denied(strict: Emulator, colour: str) -> None:
    fails(at(strict, "guest:secret-x"), colour, AccessDenied, "ACCESS_REFUSED", "password")


def test_missing_virtual_host_is_named(strict: Emulator, colour: str) -> None:
    fails(at(strict, path="/nowhere"), colour, OperationalError, "nowhere", "add_vhost")


def test_virtual_host_of_others_is_denied(strict: Emulator, colour: str) -> None:
    fails(at(strict, "nobody:secret-n"), colour, AccessDenied, "nobody", "permissions")


def test_missing_permission_is_denied(strict: Emulator, colour: str) -> None:
    fails(at(strict, "reader:secret-r"), colour, AccessDenied, "set_permissions", "reader")


def test_queue_with_other_arguments_is_explained(strict: Emulator, colour: str) -> None:
    name = f"orders-{uuid4().hex[:8]}"
    declared, other = at(strict, path="/shop"), at(strict, path="/shop", queue_type="quorum")
    with driving(colour, declared.services) as run:
        run(declared.send(name, [Outgoing(body="x")]))
    with (
        driving(colour, other.services) as run,
        pytest.raises(OperationalError, match=r"x-queue-type.*queue_arguments"),
    ):
        run(other.send(name, [Outgoing(body="x")]))


def test_no_server_is_unreachable(colour: str, unused_port: int) -> None:
    broker = broker_from_url(f"amqp://guest:secret@127.0.0.1:{unused_port}", {})
    fails(broker, colour, Unreachable, str(unused_port))


def test_next_server_is_used_if_one_cannot_be_reached(strict: Emulator, colour: str, unused_port: int) -> None:
    broker = broker_from_url(f"amqp://127.0.0.1:{unused_port};amqp://127.0.0.1:{strict.port}", {})
    with driving(colour, broker.services) as run:
        assert isinstance(run(broker.send(f"o-{uuid4().hex[:8]}", [Outgoing(body="x")]))[0], Sent)


def test_queue_that_was_deleted_is_declared_anew(strict: Emulator, colour: str) -> None:
    broker, name = at(strict), f"orders-{uuid4().hex[:8]}"
    keeping = at(strict, create_missing_queues=False)
    with driving(colour, broker.services) as run, driving(colour, keeping.services) as run_keeping:
        run(broker.send(name, [Outgoing(body="x")]))
        run_keeping(keeping.send(name, [Outgoing(body="x")]))
        for message in (Outgoing(body="y"), Outgoing(body="z", delay_seconds=1)):
            delete(run, broker, name)
            with pytest.raises(QueueNotFound, match="create_missing_queues"):
                run_keeping(keeping.send(name, [message]))
            assert isinstance(run(broker.send(name, [message]))[0], Sent)


def delete(run: Drive, broker: Broker, queue: str) -> None:
    def flow() -> Flow[Any]:
        [service] = broker.services
        return (yield Call(service, "ask", {"methods": [("queue.delete", 0, queue, False, False, False)]}))

    run(flow())


def test_delivery_that_the_server_takes_back_has_lost_its_lease(strict: Emulator, colour: str) -> None:
    """Without the broker's own limit, which is shorter than that of the server it is made for."""
    broker, name = at(strict), f"orders-{uuid4().hex[:8]}"
    with driving(colour, broker.services) as run:
        run(broker.send(name, [Outgoing(body="x")]))
        [held] = run(broker.receive(name, 1, 1, 60))

        def is_lost() -> bool:
            run(broker.receive(f"{name}-other", 1, 0.2, 60))  # a thread reads only while it is in a call
            return isinstance(run(broker.extend([held], 60))[0], Refused)

        until(is_lost, "the server's consumer_timeout", 20)
        assert run(broker.settle([Acknowledge(held)])) == [None]
        [again] = run(broker.receive(name, 1, 5, 60))
        assert (again.message_id, again.receive_count) == (held.message_id, 2)
        assert run(broker.settle([Acknowledge(again)])) == [None]


def test_alarm_is_an_error_in_time(strict: Emulator, folder: Path, colour: str) -> None:
    broker = at(strict)
    with driving(colour, with_longest_call(broker.services, 4)) as run:
        run(broker.purge("orders"))
        run(broker.send("orders", [Outgoing(body="x")]))
        if colour == "sync":
            run(broker.settle([Release(each) for each in run(broker.receive("orders", 1, 5, 60))]))
            run(broker.send("orders", [Outgoing(body="y")]))
        control(strict, folder, "set_vm_memory_high_watermark", "0")
        try:
            begun = time.monotonic()
            with pytest.raises(Unreachable, match=r"takes no messages.*alarm") as caught:
                run(broker.send("orders", [Outgoing(body="x")]))
            assert time.monotonic() - begun < 25
            assert "vm_memory_high_watermark" in str(caught.value)
            received = run(broker.receive("orders", 10, 1, 60))
            if colour == "sync":  # the other message, which came before, can't be counted now
                assert [each.body for each in received] == ["y"]
            assert run(broker.settle([Acknowledge(each) for each in received])) == [None] * len(received)
        finally:
            control(strict, folder, "set_vm_memory_high_watermark", "0.6")
        assert isinstance(run(broker.send("orders", [Outgoing(body="x")]))[0], Sent)

        def has_two_connections() -> bool:
            return len(control(strict, folder, "list_connections", "pid", "--no-table-headers").split()) == 2

        until(has_two_connections, "the end of the connection that was blocked")


def test_doctor_finds_alarm(strict: Emulator, folder: Path) -> None:
    app = TaskQ("shop", broker=strict.url, results="disabled://")
    app.task(name="shop.length")(len)
    control(strict, folder, "set_vm_memory_high_watermark", "0")
    try:
        with driving("sync", with_longest_call(app.services(), 2)) as run:
            observed = Observed(servers=run(observe_servers.servers(app.topology(), app)))
    finally:
        control(strict, folder, "set_vm_memory_high_watermark", "0.6")
        app.close()
    found = {each.check: each for each in checks_of_servers(app.topology(), observed)}
    assert found.keys() == {"rabbitmq.blocked", "rabbitmq.missing"}
    assert "low on memory" in found["rabbitmq.blocked"].difference


@pytest.mark.parametrize(
    ("creates", "expected"),
    [(True, {"rabbitmq.arguments", "rabbitmq.blocked"}), (False, {"rabbitmq.blocked"})],
    ids=["declaring", "not declaring"],
)
def test_doctor_finds_missing_permissions(strict: Emulator, creates: bool, expected: set[str]) -> None:
    address = urlsplit(strict.url)
    queue = f"work-{uuid4().hex[:8]}"
    reader = f"amqp://reader:secret-r@{address.hostname}:{address.port}//"
    owner, app = (
        TaskQ(
            "shop",
            broker=url,
            results="disabled://",
            task_default_queue=queue,
            broker_transport_options={"create_missing_queues": creates},
        )
        for url in (strict.url, reader)
    )
    for each in (owner, app):
        each.task(name="shop.length")(len)
    with driving("sync", owner.services()) as run:
        run(ServerProvisioner(owner.topology(), owner).run())
    with driving("sync", app.services()) as run:
        observed = Observed(servers=run(observe_servers.servers(app.topology(), app)))
    found = checks_of_servers(app.topology(), observed)
    assert {each.check for each in found} == expected
    assert all("ACCESS_REFUSED" in each.difference for each in found)
    for each in (owner, app):
        each.close()


def checks_of_servers(topology: Topology, observed: Observed) -> list[Finding]:
    return [finding for check in checks_server.CHECKS for finding in check.run(topology, observed)]


_SENDS_AND_ENDS = """
import os, signal, subprocess, sys
from taskq_cloud import TaskQ

url, queue, server = sys.argv[1:]
app = TaskQ("shop", broker=url, task_default_queue=queue)
app.send_task("noop", [0])
os.kill(int(server), signal.SIGSTOP)
for number in range(1, 200):
    app.send_task("noop", [number])
subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -CONT {server}"])
"""


def test_messages_without_confirms_arrive_though_a_slow_servers_caller_ends(strict: Emulator) -> None:
    queue = f"work-{uuid4().hex[:12]}"
    (process_id,) = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.laddr.port == strict.port and each.status == psutil.CONN_LISTEN and each.pid
    }
    command = [sys.executable, "-c", _SENDS_AND_ENDS, f"{strict.url}//?confirm_publish=false", queue, str(process_id)]
    subprocess.run(command, check=True, timeout=60)
    broker = broker_from_url(strict.url, {})
    with driving("sync", broker.services) as run:
        assert len(take(run, broker, queue, 200)) == 200
