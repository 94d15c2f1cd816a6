"""Tests of ``app.transaction``: calls in a caller's own transaction, by every kind of connection, and its refusals."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row, scalar_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.celery import Celery
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import ImproperlyConfigured, OperationalError

pytestmark = pytest.mark.slow


class _RolledBack(Exception):
    """Ends a transaction without a commit."""


class Shop:
    """An application with a queue of its own in one database, and that database's URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.queue = f"shop-{uuid4().hex}"
        self.app = TaskQ("shop", broker=f"{url}?schema=shop", results="memory://", task_default_queue=self.queue)

        @self.app.task
        def add(left: int, right: int) -> int:
            return left + right

        self.add = add

    def depth(self, queue: str | None = None) -> Depth | None:
        return self.app.run(self.app.broker.depth(queue or self.queue))

    def total(self) -> int:
        depth = self.depth()
        assert depth is not None
        return depth.total

    def sqlalchemy_url(self, driver: str) -> str:
        return self.url.replace("postgresql:", f"postgresql+{driver}:")


@pytest.fixture
def shop(server_url: Callable[[str], str]) -> Iterator[Shop]:
    shop = Shop(f"{server_url('postgresql')}/postgres")
    yield shop
    shop.app.close()


@contextmanager
def _psycopg(shop: Shop) -> Iterator[Any]:
    with psycopg.connect(shop.url) as connection:
        yield connection


@contextmanager
def _psycopg_autocommit(shop: Shop) -> Iterator[Any]:
    with psycopg.connect(shop.url, autocommit=True) as connection, connection.transaction():
        yield connection


@contextmanager
def _psycopg_raw(shop: Shop) -> Iterator[Any]:
    with psycopg.connect(shop.url, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute("SELECT $1", [1])
        yield connection


@contextmanager
def _psycopg_dict_rows(shop: Shop) -> Iterator[Any]:
    with psycopg.connect(shop.url, row_factory=dict_row) as connection:
        yield connection


@contextmanager
def _psycopg_scalar_rows(shop: Shop) -> Iterator[Any]:
    with psycopg.connect(shop.url, row_factory=scalar_row) as connection:
        yield connection


@contextmanager
def _psycopg_pipeline(shop: Shop) -> Iterator[Any]:
    with psycopg.connect(shop.url, autocommit=True) as connection, connection.pipeline(), connection.transaction():
        yield connection


@contextmanager
def _sqlalchemy_connection(shop: Shop) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(shop.sqlalchemy_url("psycopg"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _sqlalchemy_session(shop: Shop) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(shop.sqlalchemy_url("psycopg"))
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


@asynccontextmanager
async def _async_psycopg(shop: Shop) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(shop.url) as connection:
        yield connection


@asynccontextmanager
async def _asyncpg(shop: Shop) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(shop.url)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _asyncpg_pool(shop: Shop) -> AsyncIterator[Any]:
    async with (
        asyncpg.create_pool(shop.url, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
        connection.transaction(),
    ):
        yield connection


def _async_sqlalchemy(driver: str, *, session: bool) -> Callable[[Shop], Any]:
    @asynccontextmanager
    async def opened(shop: Shop) -> AsyncIterator[Any]:
        engine = create_async_engine(shop.sqlalchemy_url(driver))
        try:
            if session:
                async with AsyncSession(engine) as opened_session, opened_session.begin():
                    yield opened_session
            else:
                async with engine.begin() as connection:
                    yield connection
        finally:
            await engine.dispose()

    return opened


SYNCHRONOUS = [
    _psycopg,
    _psycopg_autocommit,
    _psycopg_raw,
    _psycopg_dict_rows,
    _psycopg_scalar_rows,
    _psycopg_pipeline,
    _sqlalchemy_connection,
    _sqlalchemy_session,
]
ASYNCHRONOUS = {
    "psycopg": _async_psycopg,
    "asyncpg": _asyncpg,
    "asyncpg-pool": _asyncpg_pool,
    "sqlalchemy-psycopg-session": _async_sqlalchemy("psycopg", session=True),
    "sqlalchemy-asyncpg-session": _async_sqlalchemy("asyncpg", session=True),
    "sqlalchemy-asyncpg-connection": _async_sqlalchemy("asyncpg", session=False),
}


@pytest.mark.parametrize("opened", SYNCHRONOUS, ids=lambda opened: opened.__name__.strip("_"))
def test_calls_are_there_after_the_commit_and_gone_after_a_rollback(
    shop: Shop, opened: Callable[[Shop], AbstractContextManager[Any]]
) -> None:
    def call_everything(*, fails: bool) -> None:
        shop.add.delay(1, 2)
        shop.add.apply_async((1, 2), countdown=60)
        shop.app.send_task("shop.other", (1,))
        chain(shop.add.s(1, 2), shop.add.s(3)).delay()
        group(shop.add.s(number, 1) for number in range(3)).delay()
        chord([shop.add.s(number, 1) for number in range(2)], shop.add.s(5)).delay()
        if fails:
            raise _RolledBack

    with pytest.raises(_RolledBack), opened(shop) as connection, shop.app.transaction(connection):
        call_everything(fails=True)
    assert shop.depth() == Depth(0, 0, 0)

    with opened(shop) as connection:
        with shop.app.transaction(connection):
            call_everything(fails=False)
        assert shop.depth() == Depth(0, 0, 0)
    assert shop.depth() == Depth(waiting=8, delayed=1, in_flight=0)


@pytest.mark.parametrize("kind", sorted(ASYNCHRONOUS))
def test_asynchronous_calls_are_there_after_the_commit_and_gone_after_a_rollback(shop: Shop, kind: str) -> None:
    async def call(*, fails: bool) -> None:
        async with ASYNCHRONOUS[kind](shop) as connection, shop.app.transaction(connection):
            await shop.add.adelay(1, 2)
            await group(shop.add.s(number, 1) for number in range(3)).adelay()
            await asyncio.gather(shop.add.adelay(1, 2), shop.add.adelay(3, 4))
            if fails:
                raise _RolledBack

    async def main() -> None:
        with pytest.raises(_RolledBack):
            await call(fails=True)
        assert shop.total() == 0
        await call(fails=False)
        await shop.app.aclose()

    asyncio.run(main())
    assert shop.depth() == Depth(waiting=6, delayed=0, in_flight=0)


def test_connections_of_django_are_taken_as_they_are(shop: Shop) -> None:
    program = Path(__file__).with_name("django_transaction.py")
    ran = subprocess.run(
        [sys.executable, str(program), shop.url, shop.queue], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout.splitlines() == ["rolled back: 0", "committed: 4", "refused outside of atomic"], ran.stderr


def test_ordered_queue_keeps_order_and_deduplicates_within_a_transaction(shop: Shop) -> None:
    queue = f"{shop.queue}.fifo"
    with psycopg.connect(shop.url) as connection, shop.app.transaction(connection):
        for number in (1, 2, 2, 3):
            shop.add.apply_async(
                (number, 0), queue=queue, MessageGroupId="a", MessageDeduplicationId=f"number {number}"
            )
    taken = shop.app.run(shop.app.broker.receive(queue, 10, 0, 60))
    assert [each.body for each in taken] != []
    assert len(taken) == 3


def test_waiting_worker_is_woken_by_the_commit(shop: Shop) -> None:
    async def main() -> float:
        receiving = asyncio.create_task(shop.app.arun(shop.app.broker.receive(shop.queue, 1, 20, 60)))
        async with await psycopg.AsyncConnection.connect(shop.url) as connection:
            async with shop.app.transaction(connection):
                await shop.add.adelay(1, 2)
            await asyncio.sleep(0.2)
            assert not receiving.done()
            await connection.commit()
            committed_at = asyncio.get_running_loop().time()
        assert len(await receiving) == 1
        took = asyncio.get_running_loop().time() - committed_at
        await shop.app.aclose()
        return took

    assert asyncio.run(main()) < 2  # the next look without a notification would be later


def test_call_of_a_savepoint_that_is_rolled_back_is_gone(shop: Shop) -> None:
    with psycopg.connect(shop.url) as connection:
        with shop.app.transaction(connection):
            shop.add.delay(1, 1)
            with connection.transaction() as savepoint:
                shop.add.delay(2, 2)
                raise psycopg.Rollback(savepoint)
        assert shop.total() == 0
    assert shop.total() == 1


def test_calls_after_the_block_and_of_other_applications_are_sent_at_once(shop: Shop) -> None:
    other = Shop(shop.url)
    with psycopg.connect(shop.url) as connection:
        with shop.app.transaction(connection):
            other.add.delay(1, 2)
            shop.add.delay(1, 2)
        shop.add.delay(1, 2)
        assert (other.total(), shop.total()) == (1, 1)
        connection.rollback()
    assert shop.total() == 1
    other.app.close()


def test_inner_block_sends_in_its_own_transaction(shop: Shop) -> None:
    with psycopg.connect(shop.url) as outer, psycopg.connect(shop.url) as inner:
        with shop.app.transaction(outer):
            with shop.app.transaction(inner):
                shop.add.delay(1, 2)
            inner.commit()
            assert shop.total() == 1
            shop.add.delay(1, 2)
        outer.rollback()
    assert shop.total() == 1


def test_caller_that_dies_in_its_transaction_has_sent_nothing(shop: Shop) -> None:
    program = (
        "import os, psycopg, sys\nfrom taskq_cloud import TaskQ\nurl, queue = sys.argv[1:]\n"
        "app = TaskQ('shop', broker=url + '?schema=shop', results='memory://', task_default_queue=queue)\n"
        "connection = psycopg.connect(url)\n"
        "with app.transaction(connection):\n    app.send_task('shop.add', (1, 2))\n    os.kill(os.getpid(), 9)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, shop.url, shop.queue], timeout=60, check=False)
    assert ran.returncode == -9
    assert shop.total() == 0


def test_many_calls_are_sent_in_one_transaction(shop: Shop) -> None:
    with psycopg.connect(shop.url) as connection, shop.app.transaction(connection):
        shop.add.map_async([(number, 0) for number in range(2500)])
    assert shop.total() == 2500


def test_application_of_celerys_interface_sends_in_a_transaction(shop: Shop) -> None:
    app = Celery("shop", broker=f"{shop.url}?schema=shop", backend="memory://", set_as_current=False)
    app.conf.task_default_queue = shop.queue

    @app.task(name="shop.add")  # type: ignore[untyped-decorator,unused-ignore]
    def add(left: int, right: int) -> int:
        return left + right

    with psycopg.connect(shop.url) as connection:
        for end in (connection.rollback, connection.commit):
            with app.transaction(connection):
                add.delay(1, 2)
                (add.s(1, 2) | add.s(3)).apply_async()
            end()
    app.close()
    assert shop.total() == 2


def test_eager_calls_need_no_database(shop: Shop) -> None:
    app = TaskQ("eager", broker="memory://", results="memory://", task_always_eager=True)

    @app.task
    def double(number: int) -> int:
        return 2 * number

    with app.transaction(None):
        assert double.delay(4).get() == 8


def test_broker_without_transactions_is_refused() -> None:
    app = TaskQ(broker="memory://")
    with pytest.raises(ImproperlyConfigured, match=r"needs a broker in PostgreSQL, and the broker is memory://"):
        app.transaction(object()).__enter__()


def test_object_that_is_no_connection_is_refused(shop: Shop) -> None:
    engine = sqlalchemy.create_engine(shop.sqlalchemy_url("psycopg"))
    with pytest.raises(TypeError, match=r"takes a connection of psycopg 3 or asyncpg.*, not Engine"):
        shop.app.transaction(engine).__enter__()


def test_connection_in_autocommit_mode_is_refused(shop: Shop) -> None:
    with (
        psycopg.connect(shop.url, autocommit=True) as connection,
        pytest.raises(OperationalError, match=r"autocommit mode: open a transaction with connection\.transaction"),
        shop.app.transaction(connection),
    ):
        pass
    engine = sqlalchemy.create_engine(shop.sqlalchemy_url("psycopg"), isolation_level="AUTOCOMMIT")
    with (
        engine.connect() as autocommitting,
        pytest.raises(OperationalError, match="isolation level is AUTOCOMMIT"),
        shop.app.transaction(autocommitting),
    ):
        pass
    engine.dispose()


def test_failed_transaction_is_refused(shop: Shop) -> None:
    with psycopg.connect(shop.url) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        with pytest.raises(OperationalError, match="can only be rolled back"), shop.app.transaction(connection):
            pass
        connection.rollback()


def test_asyncpg_without_a_transaction_is_refused(shop: Shop) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(shop.url)
        with pytest.raises(OperationalError, match="no transaction is open"):
            async with shop.app.transaction(connection):
                pass
        await connection.close()
        await shop.app.aclose()

    asyncio.run(main())


def test_connection_to_another_database_is_refused(shop: Shop) -> None:
    with (
        psycopg.connect(shop.url.replace("/postgres", "/template1")) as connection,
        pytest.raises(OperationalError, match=r"another database than the broker.*'template1'"),
        shop.app.transaction(connection),
    ):
        pass


def test_synchronous_call_on_an_asynchronous_connection_is_refused(shop: Shop) -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(shop.url) as connection, shop.app.transaction(connection):
            with pytest.raises(TypeError, match=r"use async with app.transaction.*adelay"):
                shop.add.delay(1, 2)
        await shop.app.aclose()

    asyncio.run(main())
    assert shop.total() == 0


def test_missing_permission_fails_in_the_callers_transaction_with_its_own_error(shop: Shop) -> None:
    role = f"poor_{uuid4().hex[:8]}"
    assert shop.total() == 0  # the tables are there
    with psycopg.connect(shop.url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")
        try:
            with (
                psycopg.connect(shop.url, user=role) as connection,
                shop.app.transaction(connection),
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                shop.add.delay(1, 2)
            owner.execute(f"GRANT USAGE ON SCHEMA shop TO {role}; GRANT INSERT ON shop.taskq_messages TO {role}")
            with psycopg.connect(shop.url, user=role) as connection, shop.app.transaction(connection):
                shop.add.delay(1, 2)
        finally:
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert shop.total() == 1
