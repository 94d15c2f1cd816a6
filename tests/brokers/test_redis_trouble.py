"""Tests of the Redis broker in trouble: wrong settings, lost connections, a full server, replicas and sentinels."""

from __future__ import annotations

import logging
import re
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from emulators.ports import free_port
from emulators.process import Emulator
from emulators.servers import server
from taskq_cloud.brokers.redis import RedisBroker
from taskq_cloud.clients.base import LONGEST_CALL
from taskq_cloud.clients.redis import RedisClient
from taskq_cloud.core.flows import Call, CallError, Flow, Sleep
from taskq_cloud.core.model.message import Acknowledge, Outgoing, Sent
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import AccessDenied, OperationalError, Unreachable
from taskq_cloud.testing.driving import driving
from taskq_cloud.testing.waiting import until
from tests.brokers.redis_proxy import BreakingProxy

pytestmark = pytest.mark.slow

T = TypeVar("T")

ONE = [Outgoing(body="x")]


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def redis(own_server: Callable[[str], Emulator]) -> Emulator:
    """A server of the test's own, with an append-only file."""
    return own_server("redis")


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Emulator]:
    """A second server of the test's own."""
    folder = tmp_path / "replica"
    folder.mkdir()
    with server("redis", folder) as started:
        yield started


def command(url: str, *parts: Any) -> Any:
    """Send one command to a server."""
    broker = RedisBroker(url)
    [name] = broker.services

    def ask() -> Flow[Any]:
        [answer] = yield Call(name, "commands", {"commands": [parts]})
        return answer

    with driving("sync", broker.services) as run:
        return run(ask())


def use(colour: str, urls: str | list[str], flow_of: Callable[[RedisBroker], Flow[T]], **options: Any) -> T:
    broker = RedisBroker(urls, options)
    with driving(colour, broker.services) as run:
        return run(flow_of(broker))


def with_login(redis: Emulator, login: str, database: str = "0") -> str:
    return f"redis://{login}127.0.0.1:{redis.port}/{database}"


class TestSettings:
    @pytest.fixture
    def colour(self) -> str:
        return "sync"

    def test_wrong_password_is_denied_and_not_shown(self, redis: Emulator, colour: str) -> None:
        command(redis.url, "CONFIG", "SET", "requirepass", "right")
        for login, problem in ((":guess@", "WRONGPASS.*check the user and the password"), ("", "NOAUTH.*:password@")):
            with pytest.raises(AccessDenied, match=rf"queue 'work'.*{redis.port}.*{problem}") as caught:
                use(colour, with_login(redis, login), lambda broker: broker.send("work", ONE))
            assert "guess" not in str(caught.value)
        [sent] = use(colour, with_login(redis, ":right@"), lambda broker: broker.send("work", ONE))
        assert isinstance(sent, Sent)

    def test_password_for_a_server_without_one_is_denied(self, redis: Emulator, colour: str) -> None:
        with pytest.raises(AccessDenied, match="the server has no password: take it out of the URL"):
            use(colour, with_login(redis, ":any@"), lambda broker: broker.send("work", ONE))

    def test_missing_permission_is_named(self, redis: Emulator, colour: str) -> None:
        command(redis.url, "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+select", "+script|load")
        with pytest.raises(AccessDenied, match=r"reader@.*NOPERM.*eval.*ACL SETUSER"):
            use(colour, with_login(redis, "reader:pw@"), lambda broker: broker.send("work", ONE))

    def test_user_with_the_documented_permissions_can_do_everything(self, redis: Emulator, colour: str) -> None:
        [rules] = re.findall(r"ACL SETUSER shop (.*)", (Path(__file__).parents[2] / "docs" / "redis.md").read_text())
        command(redis.url, "ACL", "SETUSER", "shop", *rules.split())

        def everything(broker: RedisBroker) -> Flow[Any]:
            for queue in ("work", "work.fifo"):
                yield from broker.send(queue, [*ONE, Outgoing(body="later", delay_seconds=60)])
                held = yield from broker.receive(queue, 1, 0, 60)
                yield from broker.extend(held, 60)
                yield from broker.settle([Acknowledge(each) for each in held])
                yield from broker.receive(queue, 1, 0.1, 60)
                yield from broker.purge(queue)
            return (yield from broker.depth("work"))

        assert use(colour, with_login(redis, "shop:password@"), everything) == Depth(0, 0, 0)

    def test_missing_database_is_named(self, redis: Emulator, colour: str) -> None:
        with pytest.raises(OperationalError, match=r"/99: ERR DB index is out of range \(the URL names a database"):
            use(colour, with_login(redis, "", "99"), lambda broker: broker.depth("work"))

    def test_server_that_is_too_old_is_refused(self, colour: str) -> None:
        old = pytest.raises(OperationalError, match=r"version 5\.0\.14, and 6\.0 is the oldest")
        with fake_server(old_info()) as url, old:
            use(colour, url, lambda broker: broker.depth("work"))

    def test_server_of_another_kind_is_named(self, colour: str) -> None:
        other = pytest.raises(Unreachable, match=r"isn't an answer of a Redis server.*check the port")
        with fake_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url, other:
            use(colour, url, lambda broker: broker.depth("work"))

    def test_server_that_does_not_answer_is_unreachable(self, colour: str) -> None:
        url = f"redis://:secret@127.0.0.1:{free_port()}/0"
        with pytest.raises(Unreachable, match=r"queue 'work': redis://127\.0\.0\.1:\d+/0: .*(refused|Connect)"):
            use(colour, url, lambda broker: broker.depth("work"))

    def test_eviction_policy_that_drops_messages_is_warned_of_once(
        self, redis: Emulator, colour: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        command(redis.url, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                use(colour, redis.url, lambda broker: broker.depth("work"))
        [record] = [each for each in caplog.records if each.name.startswith("taskq_cloud")]
        assert "drops queued messages and results" in record.message
        assert "set maxmemory-policy noeviction" in record.message

    def test_server_without_tls_is_told_apart(self, redis: Emulator) -> None:
        url = redis.url.replace("redis://", "rediss://")
        client = RedisClient({"urls": (url,), LONGEST_CALL: 0.4})
        with pytest.raises(CallError, match=rf"rediss://127\.0\.0\.1:{redis.port}/0: .*without TLS, write redis://"):
            client.call(Call("redis", "commands", {"commands": [["PING"]]}))


def old_info() -> bytes:
    """The answers of an old server to the first commands of a connection."""
    text = b"# Server\r\nredis_version:5.0.14\r\n"
    return b"$%d\r\n%b\r\n$0\r\n\r\n" % (len(text), text)


@contextmanager
def fake_server(answer: bytes) -> Iterator[str]:
    """A server that answers the first bytes of each connection with fixed bytes; yields its URL."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(answer)
            self.request.recv(65536)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield f"redis://127.0.0.1:{serving.server_address[1]}/0"
        serving.shutdown()
        thread.join()


class TestConnections:
    def test_send_whose_answer_is_lost_is_there_once(self, redis: Emulator, colour: str) -> None:
        with BreakingProxy(redis.port) as proxy:
            broker = RedisBroker(proxy.url)
            with driving(colour, broker.services) as run:
                run(broker.depth("work"))
                proxy.lose_answers(2, b"kept")
                [sent] = run(broker.send("work", [Outgoing(body="kept")]))
                assert proxy.broken == 2
                assert isinstance(sent, Sent)
                [delivery] = run(broker.receive("work", 10, 0, 60))
                assert (delivery.body, delivery.message_id) == ("kept", sent.message_id)

    def test_settlement_whose_answer_is_lost_takes_effect_once(self, redis: Emulator, colour: str) -> None:
        with BreakingProxy(redis.port) as proxy:
            broker = RedisBroker(proxy.url)
            with driving(colour, broker.services) as run:
                run(broker.send("work", [Outgoing(body=str(number)) for number in range(3)]))
                held = run(broker.receive("work", 3, 0, 60))
                proxy.lose_answers(1, held[0].receipt.encode())
                assert run(broker.settle([Acknowledge(each) for each in held])) == [None] * 3
                assert proxy.broken == 1
                assert run(broker.depth("work")) == Depth(0, 0, 0)

    def test_receive_whose_answer_is_lost_comes_back_after_the_lease(self, redis: Emulator, colour: str) -> None:
        with BreakingProxy(redis.port) as proxy:
            broker = RedisBroker(proxy.url)
            with driving(colour, broker.services) as run:
                assert run(broker.receive("work", 1, 0, 0.5)) == []  # the server knows the script
                run(broker.send("work", ONE))
                proxy.lose_answers(1, b"{work}")
                [delivery] = run(broker.receive("work", 1, 5, 0.5))
                assert (delivery.body, delivery.receive_count) == ("x", 2)

    def test_connection_that_the_server_closed_is_replaced_without_a_failure(self, redis: Emulator) -> None:
        broker = RedisBroker(redis.url)
        with driving("sync", broker.services) as run:
            run(broker.depth("work"))
            command(redis.url, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(1.1)  # a connection is looked at once it was idle for a second
            began_at = time.monotonic()
            run(broker.depth("work"))
            assert time.monotonic() - began_at < 0.05

    def test_messages_survive_a_killed_server(self, redis: Emulator, colour: str) -> None:
        broker = RedisBroker(redis.url)
        with driving(colour, broker.services) as run:
            run(broker.send("work", [Outgoing(body=str(number)) for number in range(20)]))
            held = run(broker.receive("work", 5, 0, 60))
            run(broker.settle([Acknowledge(each) for each in held[:2]]))
            redis.kill()
            redis.start()
            assert run(broker.depth("work")) == Depth(15, 0, 3)
            assert run(broker.settle([Acknowledge(each) for each in held])) == [None] * 5
            assert run(broker.depth("work")) == Depth(15, 0, 0)

    def test_waiting_receiver_goes_on_when_the_server_is_back(self, redis: Emulator, colour: str) -> None:
        broker = RedisBroker(redis.url)

        def receive() -> Flow[Any]:
            return (yield from broker.receive("work", 1, 10, 60))

        def restart() -> Flow[Any]:
            yield Sleep(0.3)
            redis.kill()
            redis.start()
            return (yield from broker.send("work", ONE))

        with driving(colour, broker.services) as run:
            received, _ = run.together([receive(), restart()])
        assert [each.body for each in received] == ["x"]


class TestFullServer:
    @pytest.mark.parametrize("queue", ["work", "work.fifo"])
    def test_full_memory_is_a_clear_error_and_workers_can_empty_the_queue(
        self, redis: Emulator, colour: str, queue: str
    ) -> None:
        broker = RedisBroker(redis.url)
        with driving(colour, broker.services) as run:
            run(broker.send(queue, [Outgoing(body="x" * 10_000, group=str(number)) for number in range(50)]))
            command(redis.url, "CONFIG", "SET", "maxmemory", "1mb", "maxmemory-policy", "noeviction")
            with pytest.raises(Unreachable, match=rf"'{queue}'.*OOM.*memory is full: raise maxmemory"):
                run(broker.send(queue, ONE))
            assert run(broker.depth(queue)) == Depth(50, 0, 0)
            held = run(broker.receive(queue, 50, 0, 60))
            assert len(held) == 50
            assert run(broker.extend(held, 60)) == [None] * 50
            assert run(broker.settle([Acknowledge(each) for each in held])) == [None] * 50
            assert run(broker.depth(queue)) == Depth(0, 0, 0)


class TestSeveralServers:
    @pytest.fixture
    def colour(self) -> str:
        return "async"

    @pytest.fixture
    def replicated(self, redis: Emulator, replica: Emulator) -> Emulator:
        """The replica of the server, which has everything that the server has."""
        # Without these, a primary waits for further replicas to come, and at its end for those that lag behind.
        for each in (redis, replica):
            command(each.url, "CONFIG", "SET", "repl-diskless-sync-delay", 0, "shutdown-timeout", 0)
        command(replica.url, "CONFIG", "SET", "appendonly", "no")  # nor does it end while it writes a whole file
        command(replica.url, "REPLICAOF", "127.0.0.1", redis.port)
        until(lambda: b"master_link_status:up" in command(replica.url, "INFO", "replication"), timeout_seconds=20)
        return replica

    def test_replica_is_named_as_such(self, replicated: Emulator, colour: str) -> None:
        with pytest.raises(Unreachable, match=rf"{replicated.port}.*READONLY.*read-only replica: name the primary"):
            use(colour, replicated.url, lambda broker: broker.send("work", ONE))

    @pytest.mark.parametrize("strategy", ["round-robin", "shuffle"])
    def test_primary_is_found_among_several(
        self, redis: Emulator, replicated: Emulator, colour: str, strategy: str
    ) -> None:
        urls = [f"redis://127.0.0.1:{free_port()}/0", replicated.url, redis.url]
        [sent] = use(colour, urls, lambda broker: broker.send("work", ONE), failover_strategy=strategy)
        assert isinstance(sent, Sent)
        assert use(colour, redis.url, lambda broker: broker.depth("work")) == Depth(1, 0, 0)

    def test_error_names_every_server(self, replicated: Emulator, colour: str) -> None:
        nobody = f"redis://127.0.0.1:{free_port()}/0"
        with pytest.raises(Unreachable, match=rf"{re.escape(nobody)}.*; .*{replicated.port}.*is a slave"):
            use(colour, [nobody, replicated.url], lambda broker: broker.send("work", ONE))

    @pytest.mark.parametrize("colour", ["sync", "async"])
    def test_replica_takes_over(self, redis: Emulator, replicated: Emulator, colour: str) -> None:
        broker = RedisBroker([redis.url, replicated.url])
        with driving(colour, broker.services) as run:
            run(broker.send("work", [Outgoing(body="before")]))
            command(redis.url, "WAIT", 1, 1000)
            redis.kill()
            command(replicated.url, "REPLICAOF", "NO", "ONE")
            run(broker.send("work", [Outgoing(body="after")]))
            assert [each.body for each in run(broker.receive("work", 10, 0, 60))] == ["before", "after"]

    def test_primary_that_becomes_a_replica_is_left(self, redis: Emulator, replicated: Emulator, colour: str) -> None:
        broker = RedisBroker([redis.url, replicated.url])
        with driving(colour, broker.services) as run:
            run(broker.send("work", [Outgoing(body="before")]))
            command(redis.url, "WAIT", 1, 1000)
            command(replicated.url, "REPLICAOF", "NO", "ONE")
            command(redis.url, "REPLICAOF", "127.0.0.1", replicated.port)
            run(broker.send("work", [Outgoing(body="after")]))
            assert [each.body for each in run(broker.receive("work", 10, 0, 60))] == ["before", "after"]

    @pytest.mark.parametrize("colour", ["sync", "async"])
    def test_waiting_receiver_leaves_a_primary_that_becomes_a_replica(
        self, redis: Emulator, replicated: Emulator, colour: str
    ) -> None:
        broker = RedisBroker([redis.url, replicated.url])

        def receive() -> Flow[Any]:
            return (yield from broker.receive("work", 1, 10, 60))

        def change_over() -> Flow[Any]:
            yield Sleep(0.2)
            command(replicated.url, "REPLICAOF", "NO", "ONE")
            command(redis.url, "REPLICAOF", "127.0.0.1", replicated.port)
            return (yield from RedisBroker(replicated.url).send("work", ONE))

        new = RedisBroker(replicated.url)
        with driving(colour, {**broker.services, **new.services}) as run:
            received, _ = run.together([receive(), change_over()])
        assert [each.body for each in received] == ["x"]

    def test_sentinel_knows_the_new_primary(
        self, redis: Emulator, replicated: Emulator, colour: str, tmp_path: Path
    ) -> None:
        port, settings = free_port(), tmp_path / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {redis.port} 1\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 1000\n"
        )
        urls = [f"sentinel://127.0.0.1:{free_port()}/0", f"sentinel://127.0.0.1:{port}/0"]
        broker = RedisBroker(urls, {"master_name": "main"})
        sentinel = subprocess.Popen(["redis-sentinel", str(settings)], stdout=subprocess.DEVNULL)
        try:
            until(lambda: _knows_replica(port), timeout_seconds=20)
            with driving(colour, broker.services) as run:
                run(broker.send("work", [Outgoing(body="before")]))
                command(redis.url, "WAIT", 1, 1000)
                redis.kill()
                until(lambda: _primary_port(port) == replicated.port, timeout_seconds=20)
                run(broker.send("work", [Outgoing(body="after")]))
                assert [each.body for each in run(broker.receive("work", 10, 0, 60))] == ["before", "after"]
        finally:
            sentinel.terminate()
            sentinel.wait(20)

    def test_sentinel_without_the_primary_is_named(self, redis: Emulator, colour: str) -> None:
        with pytest.raises(OperationalError, match=rf"sentinel://127\.0\.0\.1:{redis.port}"):
            use(
                colour,
                f"sentinel://127.0.0.1:{redis.port}",
                lambda broker: broker.send("work", ONE),
                master_name="main",
            )


def _primary_port(port: int) -> int:
    answer = command(f"redis://127.0.0.1:{port}/0", "SENTINEL", "get-master-addr-by-name", "main")
    return int(answer[1])


def _knows_replica(port: int) -> bool:
    try:
        answer = command(f"redis://127.0.0.1:{port}/0", "SENTINEL", "replicas", "main")
    except OperationalError:
        return False
    return isinstance(answer, list) and len(answer) == 1 and b"slave" in answer[0]
