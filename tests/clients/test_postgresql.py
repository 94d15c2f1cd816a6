"""Tests of the client of PostgreSQL: transactions, announcements, interruptions, and the errors of real servers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from emulators.process import Emulator
from taskq_cloud.brokers.postgresql import PostgreSQLBroker
from taskq_cloud.clients import postgresql as clients
from taskq_cloud.clients import postgresql_connections as connections
from taskq_cloud.clients import postgresql_listening
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.message import Outgoing
from taskq_cloud.core.servers.postgresql import Database, database_of
from taskq_cloud.errors import AccessDenied, OperationalError, SoftTimeLimitExceeded, Unreachable
from taskq_cloud.testing.driving import driving
from taskq_cloud.testing.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def url(server_url: Callable[[str], str]) -> Iterator[str]:
    """The URL of a database of the test's own."""
    server, name = server_url("postgresql"), f"test_{uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
        yield f"{server}/{name}"
        administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Driven:
    """Makes calls with one client, in a thread or on an event loop."""

    def __init__(self, url: str, mode: str) -> None:
        self.database = database_of([urlsplit(url)])
        self.loop = asyncio.new_event_loop() if mode == "async" else None
        options = dict(self.database.service.options)
        self.client: Any = (
            clients.open_client("", options)
            if self.loop is None
            else self.loop.run_until_complete(clients.open_async_client("", options))
        )

    def __call__(self, operation: str, *statements: tuple[str, Any], **more: Any) -> Any:
        called = self.client.call(Call("postgresql", operation, {"statements": statements, **more}))
        return called if self.loop is None else self.loop.run_until_complete(called)

    def close(self) -> None:
        closed = self.client.close()
        if self.loop is not None:
            self.loop.run_until_complete(closed)
            self.loop.close()


@pytest.fixture(params=["sync", "async"])
def driven(request: pytest.FixtureRequest, url: str) -> Iterator[Driven]:
    made = Driven(url, request.param)
    yield made
    made.close()


SCHEMA = ("SELECT to_regclass('things') IS NOT NULL", "CREATE TABLE things (number int, name text)")


def test_transaction_answers_rows_of_each_statement(driven: Driven) -> None:
    rows = driven(
        "transaction",
        ("INSERT INTO things VALUES (%s, %s)", [(1, "one"), (2, "two; it's 100%")]),
        ("SELECT * FROM things WHERE number = %(number)s", {"number": 2}),
        ("DELETE FROM things WHERE number = 1", None),
        ("SELECT count(*) AS left FROM things", ()),
        schema=SCHEMA,
        announce=["things new"],
    )
    assert rows == [[], [{"number": 2, "name": "two; it's 100%"}], [], [{"left": 1}]]


def test_failed_transaction_changes_nothing(driven: Driven) -> None:
    insert = ("INSERT INTO things VALUES (1, 'x')", None)
    with pytest.raises(CallError, match="division by zero") as caught:
        driven("transaction", insert, ("SELECT 1/0", None), insert, schema=SCHEMA, announce=["things new"])
    assert (caught.value.code, caught.value.trouble) == ("22012", Trouble.REFUSED)
    assert driven("query", ("SELECT count(*) FROM things", None)) == [[{"count": 0}]]


def test_tables_that_somebody_removes_are_created_again(driven: Driven) -> None:
    insert = ("INSERT INTO things VALUES (1, 'x')", None)
    driven("transaction", insert, schema=SCHEMA)
    driven("transaction", ("DROP TABLE things", None))
    with pytest.raises(CallError, match="a table is missing") as caught:
        driven("transaction", insert, schema=SCHEMA)
    assert caught.value.trouble is Trouble.TRANSIENT
    driven("transaction", insert, schema=SCHEMA)


def test_processes_that_begin_at_once_create_the_tables_once(url: str) -> None:
    drivens = [Driven(url, "sync") for _ in range(8)]
    errors: list[BaseException] = []

    def insert(driven: Driven) -> None:
        try:
            driven("transaction", ("INSERT INTO things VALUES (1, 'x')", None), schema=SCHEMA)
        except CallError as error:
            errors.append(error)

    threads = [threading.Thread(target=insert, args=(each,)) for each in drivens]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert drivens[0]("query", ("SELECT count(*) FROM things", None)) == [[{"count": 8}]]
    for driven in drivens:
        driven.close()


def test_listener_hears_what_is_announced_after_the_commit(driven: Driven) -> None:
    listener, topic = Listener(), f"things {uuid4().hex}"
    assert driven("listen", listener=listener, topics={topic: "heard"})
    driven("transaction", ("SELECT 1", None), announce=["others x", topic])
    assert listener.wait(10)
    assert listener.take() == ["heard"]
    listener.close()


def test_lost_connections_are_heard_of_and_opened_again(driven: Driven, url: str) -> None:
    listener = Listener()
    driven("listen", listener=listener, topics={"things x": "x"})
    driven("query", ("SELECT 1", None))
    with psycopg.connect(url, autocommit=True) as administrator:
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    assert listener.wait(10)  # to look for itself
    with pytest.raises(CallError) as caught:
        driven("query", ("SELECT 1", None))
    assert caught.value.trouble is Trouble.TRANSIENT
    assert driven("query", ("SELECT 1 AS one", None)) == [[{"one": 1}]]
    until(lambda: driven("listen", listener=listener, topics={"things x": "x"}))
    driven("transaction", announce=["things x"])
    until(lambda: "x" in listener.take())
    listener.close()


def test_call_without_an_answer_fails_in_time(driven: Driven) -> None:
    driven.client._shared.longest_seconds = 0.3
    with pytest.raises(CallError, match=r"no answer in 0\.3 s") as caught:
        driven("query", ("SELECT pg_sleep(20)", None))
    assert caught.value.trouble is Trouble.TRANSIENT
    driven.client._shared.longest_seconds = 10
    assert driven("query", ("SELECT 1 AS one", None)) == [[{"one": 1}]]


def test_exception_of_a_signal_handler_comes_out_of_a_call(url: str) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise SoftTimeLimitExceeded

    driven, before = Driven(url, "sync"), signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(SoftTimeLimitExceeded):
            driven("query", ("SELECT pg_sleep(20)", None))
        assert driven("query", ("SELECT 1 AS one", None)) == [[{"one": 1}]]
    finally:
        signal.signal(signal.SIGALRM, before)
        driven.close()


def test_cancelled_call_leaves_a_usable_client(url: str) -> None:
    driven = Driven(url, "async")
    assert driven.loop is not None

    async def cancel() -> None:
        called = driven.client.call(Call("postgresql", "query", {"statements": [("SELECT pg_sleep(20)", None)]}))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(called, 0.2)

    driven.loop.run_until_complete(cancel())
    assert driven("query", ("SELECT 1 AS one", None)) == [[{"one": 1}]]
    driven.close()


def test_more_threads_than_connections_take_turns(url: str) -> None:
    driven = Driven(f"{url}?connections=2", "sync")
    counts: list[int] = []

    def query() -> None:
        count = "SELECT pg_sleep(0.05), (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"
        [[row]] = driven("query", (count, None))
        counts.append(row["count"])

    threads = [threading.Thread(target=query) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(counts) == 8
    assert max(counts) == 2
    driven.close()


def test_forked_child_opens_connections_of_its_own(url: str) -> None:
    driven = Driven(url, "sync")
    [[parent]] = driven("query", ("SELECT pg_backend_pid() AS pid", None))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            [[row]] = driven("query", ("SELECT pg_backend_pid() AS pid", None))
            os.write(writing, str(row["pid"]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 100)) != parent["pid"]
    assert driven("query", ("SELECT pg_backend_pid() AS pid", None)) == [[parent]]
    os.close(reading)
    os.close(writing)
    driven.close()


def test_fork_after_a_lost_listener_closes_no_file_in_place_of_its_pipe(url: str) -> None:
    before = set(postgresql_listening._LISTENING.values())
    driven = Driven(url, "sync")
    assert driven("listen", listener=Listener(), topics={"things x": "x"})
    (listening,) = set(postgresql_listening._LISTENING.values()) - before
    reader = listening._reader
    assert reader is not None
    reader.stop()
    until(lambda: reader.ended)
    opened = [os.pipe() for _ in range(2)]  # they get the numbers of the pipe that is closed
    listening.abandon()
    for each in (end for pipe in opened for end in pipe):
        os.fstat(each)
        os.close(each)
    driven.close()


def test_pooler_gets_no_settings_and_nothing_prepared(url: str) -> None:
    driven = Driven(f"{url}?pgbouncer=true", "sync")
    for _ in range(5):
        driven("query", ("SELECT 1", None))
    rows = driven("query", ("SELECT (SELECT count(*) FROM pg_prepared_statements) AS prepared", None))
    assert rows == [[{"prepared": 0}]]
    assert driven("query", ("SHOW enable_seqscan", None)) == [[{"enable_seqscan": "on"}]]
    assert not driven("listen", listener=Listener(), topics={"things x": "x"})
    driven.close()


def failure(url: str) -> OperationalError:
    """The error of a send to the broker of a URL, which names the server and no password."""
    broker = PostgreSQLBroker.from_url(urlsplit(url), {})
    with driving("sync", broker.services) as run, pytest.raises(OperationalError) as caught:
        run(broker.send("work", [Outgoing(body="x")]))
    assert "queue 'work'" in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
    return caught.value


def test_missing_database_is_named(url: str) -> None:
    assert 'database "nowhere" does not exist' in str(failure(url.rpartition("/")[0] + "/nowhere"))


def test_server_that_takes_no_writes_is_refused(url: str) -> None:
    error = failure(f"{url}?options=-c%20default_transaction_read_only%3Don")
    assert isinstance(error, Unreachable)
    assert "the server is a replica, or takes no writes" in str(error)


def test_second_host_is_used_if_the_first_takes_no_writes_or_is_down(url: str) -> None:
    down = url.replace("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:")
    for broker in (
        PostgreSQLBroker.from_url(urlsplit(down), {}),
        PostgreSQLBroker.from_urls(
            [urlsplit(f"{url.partition('@')[0]}@127.0.0.1:1/{url.rpartition('/')[2]}"), urlsplit(url)], {}
        ),
    ):
        with driving("sync", broker.services) as run:
            assert len(run(broker.send("work", [Outgoing(body="x")]))) == 1


def test_ended_server_is_unreachable() -> None:
    error = failure("postgresql://somebody:secret@127.0.0.1:1/nowhere")
    assert isinstance(error, Unreachable)
    assert "check that the server runs" in str(error)


def test_statement_timeout_may_pass(url: str) -> None:
    driven = Driven(f"{url}?options=-c%20statement_timeout%3D100", "sync")
    with pytest.raises(CallError, match="statement_timeout") as caught:
        driven("query", ("SELECT pg_sleep(5)", None))
    assert caught.value.trouble is Trouble.TRANSIENT
    driven.close()


def test_role_without_permissions_is_told_what_it_needs(url: str) -> None:
    role = f"poor_{uuid4().hex[:8]}"
    poor = url.replace("//taskq@", f"//{role}@")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE {role} LOGIN")
        try:
            error = failure(poor)
            assert isinstance(error, AccessDenied)
            assert "may not create them" in str(error)
            assert "taskq provision --sql" in str(error)
            broker = PostgreSQLBroker.from_url(urlsplit(url), {})
            owner.execute(broker.script.encode())
            assert isinstance(failure(poor), AccessDenied)
            owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
            permitted = PostgreSQLBroker.from_url(urlsplit(poor), {})
            with driving("sync", permitted.services) as run:
                for queue in ("work", "work.fifo"):
                    run(permitted.send(queue, [Outgoing(body="x", deduplication="x")]))
                    assert len(run(permitted.receive(queue, 1, 0, 60))) == 1
        finally:
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_too_old_server_is_refused(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "OLDEST_SERVER", 990_000)
    with pytest.raises(CallError, match="has version 15, but 99 is needed: upgrade it") as caught:
        driven("query", ("SELECT 1", None))
    assert caught.value.trouble is Trouble.REFUSED


def test_wrong_password_and_too_many_connections_are_told_apart(own_server: Callable[[str], Emulator]) -> None:
    server = own_server("postgresql")
    url = f"{server.url}/postgres"
    with psycopg.connect(url, autocommit=True) as administrator:
        administrator.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        [folder] = administrator.execute("SHOW data_directory").fetchone() or [""]
        rules = "host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        with open(f"{folder}/pg_hba.conf", "w") as file:  # noqa: PTH123
            file.write(rules)
        administrator.execute("SELECT pg_reload_conf()")
        administrator.execute("ALTER ROLE guarded CONNECTION LIMIT 0")

    guarded = url.replace("//taskq@", "//guarded:secret@")

    def refused() -> str:
        return str(failure(guarded))

    until(lambda: "password authentication failed" in refused())
    assert isinstance(failure(guarded), AccessDenied)
    assert isinstance(failure(url.replace("//taskq@", "//guarded@")), AccessDenied)
    error = failure(guarded.replace("secret", "right"))
    assert isinstance(error, Unreachable)
    assert "too many connections" in str(error)


def test_restarted_server_is_used_again(own_server: Callable[[str], Emulator]) -> None:
    server = own_server("postgresql")
    driven = Driven(f"{server.url}/postgres", "sync")
    driven("transaction", ("INSERT INTO things VALUES (1, 'x')", None), schema=SCHEMA)
    server.kill()
    with pytest.raises(CallError) as caught:  # noqa: PT012 - the server's processes may live on for a moment
        while True:
            driven("query", ("SELECT * FROM things", None))
    assert caught.value.trouble is Trouble.TRANSIENT
    server.start()

    assert driven("query", ("SELECT number FROM things", None), schema=SCHEMA) == [[{"number": 1}]]
    driven.close()


def test_database_of_urls_reads_options_and_refuses_others() -> None:
    found: Database = database_of(
        [urlsplit("postgresql://u:pw@a,b:5433/shop?sslmode=require&connections=9&x=1")], ["x"]
    )
    assert found.name == "postgresql:u@a,b:5433/shop?sslmode=require"
    assert found.query == {"x": "1"}
    assert dict(found.service.options) == {
        "conninfo": "postgresql://u:pw@a,b:5433/shop?sslmode=require&target_session_attrs=read-write",
        "pgbouncer": False,
        "connections": 9,
    }


def test_longest_call_shortens_the_timeouts() -> None:
    options = {**dict(database_of([urlsplit("postgresql://h/d")]).service.options), "longest_call_seconds": 1.0}
    assert connections.connect_arguments(options)["connect_timeout"] == 2
    assert clients.open_client("", options)._shared.longest_seconds == 1.0
