"""Tests of the Redis client on real servers: its operations, channels, TLS, Unix sockets, and calls that are ended."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from emulators.ports import free_port
from emulators.process import Emulator
from taskq_cloud.clients import redis
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, CallError, Flow, Sleep, Trouble
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.servers.redis import redis_service
from taskq_cloud.errors import ImproperlyConfigured, SoftTimeLimitExceeded
from taskq_cloud.testing.driving import Drive, driving
from taskq_cloud.testing.waiting import until
from tests.servers import require_server

pytestmark = pytest.mark.slow

Make = Callable[..., Flow[Any]]


@pytest.fixture
def url(server_url: Callable[[str], str]) -> str:
    return server_url("redis")


@pytest.fixture
def make(url: str) -> Make:
    """Makes the flow of one call to the shared server."""
    return maker(url)


def maker(url: str) -> Make:
    [name] = dict([redis_service([url], {})])

    def make(operation: str, **parameters: Any) -> Flow[Any]:
        return (yield Call(name, operation, parameters))

    return make


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, url: str) -> Iterator[Drive]:
    with driving(request.param, dict([redis_service([url], {})])) as drive:
        yield drive


def test_commands_are_answered_in_order_and_an_error_is_a_value(run: Drive, make: Make) -> None:
    key = str(uuid4())
    commands = [["SET", key, "grüße"], ["LPUSH", key, 1], ["GET", key], ["DEL", key, "other"], ["GET", key]]
    ok, error, *rest = run(make("commands", commands=commands))
    assert (ok, rest) == (b"OK", ["grüße".encode(), 1, None])
    assert isinstance(error, CallError)
    assert (error.code, error.trouble) == ("WRONGTYPE", Trouble.REFUSED)


def test_script_that_the_server_does_not_know_is_sent_as_a_text(run: Drive, make: Make) -> None:
    script = f"return {{KEYS[1], ARGV[1], '{uuid4()}'}}"
    for _ in range(2):
        answer = run(make("script", script=script, keys=["k"], args=[7]))
        assert answer[:2] == [b"k", b"7"]
    [again, error, known] = run(
        make(
            "scripts",
            scripts=[
                {"script": script + "--", "keys": ["a"], "args": [1]},
                {"script": "return redis.error_reply('MINE oh')", "keys": []},
                {"script": script, "keys": ["b"], "args": [2]},
            ],
        )
    )
    assert (again[0], known[0]) == (b"a", b"b")
    assert isinstance(error, CallError)
    assert error.code == "MINE"


def test_unknown_operation_is_refused(run: Drive, make: Make) -> None:
    with pytest.raises(CallError, match="must be commands, script, scripts, wait or listen"):
        run(make("sing"))


def test_wait_runs_its_script_once_the_command_ends(run: Drive, make: Make) -> None:
    key = str(uuid4())

    def wait() -> Flow[Any]:
        then = {"script": "return redis.call('INCR', KEYS[1])", "keys": [f"{key}:n"]}
        return (yield from make("wait", command=["BLPOP", key, "5"], seconds=5, then=then))

    def push_later() -> Flow[Any]:
        yield Sleep(0.1)
        [before, _] = yield from make("commands", commands=[["GET", f"{key}:n"], ["RPUSH", key, "x"]])
        return before

    waited, before = run.together([wait(), push_later()])
    assert before is None
    assert waited == [[key.encode(), b"x"], 1]


def test_many_calls_at_once_have_their_own_answers(run: Drive, make: Make) -> None:
    values = ["x" * size for size in (1, 70_000, 10, 3_000_000, 100, 5, 300_000, 1)]

    def echo(value: str) -> Flow[Any]:
        return (yield from make("commands", commands=[["ECHO", value]]))

    assert run.together([echo(value) for value in values]) == [[value.encode()] for value in values]


def test_listener_hears_what_is_published_on_its_channels(run: Drive, make: Make) -> None:
    first, second = str(uuid4()), str(uuid4())
    listener, other = Listener(), Listener()
    assert run(make("listen", listener=listener, topics={first: "one", second: "two"}))
    assert run(make("listen", listener=other, topics={second: "the same channel"}))

    def wait() -> Flow[Any]:
        return (yield Sleep(5, listener))

    run(make("commands", commands=[["PUBLISH", second, "x"]]))
    run(wait())
    assert listener.take() == ["two"]
    listener.close()
    until(lambda: run(make("commands", commands=[["PUBLISH", first, "x"]])) == [0])
    [heard] = run(make("commands", commands=[["PUBLISH", second, "x"]]))
    assert heard == 1
    other.close()


def test_listener_is_woken_and_hears_again_when_the_connection_breaks(
    own_server: Callable[[str], Emulator],
) -> None:
    url = own_server("redis").url
    make, listener = maker(url), Listener()
    with driving("sync", dict([redis_service([url], {})])) as run:
        run(make("listen", listener=listener, topics={"news": "news"}))
        run(make("commands", commands=[["CLIENT", "KILL", "TYPE", "pubsub"]]))
        assert listener.wait(5)
        listener.take()
        until(lambda: run(make("commands", commands=[["PUBLISH", "news", "x"]])) == [1])
        until(lambda: listener.take() == ["news"] or run(make("commands", commands=[["PUBLISH", "news", "x"]])) is None)
        listener.close()


def test_forked_child_opens_connections_of_its_own(url: str, make: Make) -> None:
    connections = Connections(dict([redis_service([url], {})]))
    [parent] = connections.run(make("commands", commands=[["CLIENT", "ID"]]))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            [mine] = connections.run(make("commands", commands=[["CLIENT", "ID"]]))
            os.write(write, str(mine).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert int(answer.read()) != parent
    assert connections.run(make("commands", commands=[["CLIENT", "ID"]])) == [parent]
    connections.close()


class Alarm(TimeoutError):
    """An exception of an application's own, which looks like that of a broken connection."""


@pytest.mark.parametrize("kind", [SoftTimeLimitExceeded, Alarm, KeyboardInterrupt])
def test_exception_raised_into_a_wait_comes_out_as_itself(url: str, make: Make, kind: type[BaseException]) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise kind("stop")

    connections, key = Connections(dict([redis_service([url], {})])), str(uuid4())
    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(kind, match="stop"):
            connections.run(make("wait", command=["BLPOP", key, "10"], seconds=10))
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    # The connection on which the server still waited was closed: the element stays.
    assert connections.run(make("commands", commands=[["RPUSH", key, "x"]])) == [1]
    assert connections.run(make("commands", commands=[["LLEN", key]])) == [1]
    connections.close()


def test_server_that_hangs_ends_the_call_in_time(own_server: Callable[[str], Emulator]) -> None:
    url = own_server("redis").url
    make, service = maker(url), dict([redis_service([url], {})])
    connections = Connections(service, longest_seconds=0.4)
    connections.run(make("commands", commands=[["PING"]]))
    blocker = Connections(service)
    blocker.run(make("commands", commands=[["CLIENT", "PAUSE", "1500"]]))
    began_at = time.monotonic()
    with pytest.raises(CallError, match="no answer in time"):
        connections.run(make("commands", commands=[["SET", "a", "1"]]), longest_seconds=0.4)
    assert time.monotonic() - began_at < 1.2
    connections.close()
    blocker.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificates")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@pytest.fixture(scope="module")
def secure(certificates: Path) -> Iterator[tuple[str, str]]:
    """A server with TLS that is also at a Unix socket: the URLs of both."""
    require_server("redis")
    port, path = free_port(), certificates / "redis.sock"
    files = ["--tls-cert-file", f"{certificates}/cert.pem", "--tls-key-file", f"{certificates}/key.pem"]
    files += ["--tls-ca-cert-file", f"{certificates}/cert.pem", "--unixsocket", str(path), "--save", ""]
    with Emulator("Redis", lambda plain: ["redis-server", "--port", str(plain), "--tls-port", str(port), *files]):
        yield f"rediss://127.0.0.1:{port}/0", f"redis+socket://{path}?virtual_host=1"


@pytest.mark.parametrize("colour", ["sync", "async"])
class TestAddresses:
    def ask(self, url: str, colour: str, *commands: list[Any]) -> Any:
        with driving(colour, dict([redis_service([url], {})])) as run:
            return run(maker(url)("commands", commands=commands))

    def test_server_with_tls_is_used_with_its_authority(
        self, secure: tuple[str, str], certificates: Path, colour: str
    ) -> None:
        pem = f"{certificates}/cert.pem"
        url = f"{secure[0]}?ssl_ca_certs={pem}&ssl_certfile={pem}&ssl_keyfile={certificates}/key.pem"
        assert self.ask(url, colour, ["ECHO", "x" * 1_000_000]) == [b"x" * 1_000_000]

    def test_certificate_of_unknown_authority_is_refused(self, secure: tuple[str, str], colour: str) -> None:
        with pytest.raises(CallError, match=r"certificate verify failed.*name the authority's certificate") as caught:
            self.ask(secure[0], colour, ["PING"])
        assert caught.value.trouble is Trouble.REFUSED

    def test_missing_certificate_of_the_client_is_named(
        self, secure: tuple[str, str], certificates: Path, colour: str
    ) -> None:
        with pytest.raises(
            CallError,
            match=r"(certificate required|reset by peer|EOF occurred).*name your own certificate with ssl_certfile",
        ):
            self.ask(f"{secure[0]}?ssl_ca_certs={certificates}/cert.pem", colour, ["PING"])

    def test_missing_file_of_certificates_is_named(self, secure: tuple[str, str], colour: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"127\.0\.0\.1.*ssl_ca_certs=/nowhere/ca\.pem"):
            self.ask(f"{secure[0]}?ssl_ca_certs=/nowhere/ca.pem", colour, ["PING"])

    def test_socket_of_unix_has_its_database(self, secure: tuple[str, str], colour: str) -> None:
        [info] = self.ask(secure[1], colour, ["CLIENT", "LIST"])
        assert b"db=1" in info

    def test_idle_connection_with_tls_is_used_again(
        self, secure: tuple[str, str], certificates: Path, colour: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis, "IDLE_SECONDS", 0)
        pem = f"{certificates}/cert.pem"
        url = f"{secure[0]}?ssl_ca_certs={pem}&ssl_certfile={pem}&ssl_keyfile={certificates}/key.pem"
        with driving(colour, dict([redis_service([url], {})])) as run:
            ids = {run(maker(url)("commands", commands=[["CLIENT", "ID"]]))[0] for _ in range(3)}
        assert len(ids) == 1


def test_event_loop_that_is_not_closed_in_order_leaves_no_open_sockets(url: str, make: Make) -> None:
    """Warnings are errors in these tests."""

    async def use() -> Any:
        return await AsyncConnections(dict([redis_service([url], {})])).run(make("commands", commands=[["PING"]]))

    assert asyncio.run(use()) == [b"PONG"]
