"""Random workflows with crashes and duplicates on every store that is a service, and the calls that a chord takes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from taskq_cloud import TaskQ
from taskq_cloud.core.servers.http import HTTPServer
from taskq_cloud.stores.results.arangodb import ArangoDBResults
from taskq_cloud.stores.results.azure_blob import AzureBlobResults
from taskq_cloud.stores.results.cassandra import CassandraResults
from taskq_cloud.stores.results.cosmosdb import CosmosDBResults
from taskq_cloud.stores.results.couchbase import CouchbaseResults
from taskq_cloud.stores.results.couchdb import CouchDBResults
from taskq_cloud.stores.results.django_orm import DjangoResults
from taskq_cloud.stores.results.dynamodb import DynamoDBResults
from taskq_cloud.stores.results.elasticsearch import ElasticsearchResults
from taskq_cloud.stores.results.filesystem import FileResults
from taskq_cloud.stores.results.gcs import GCSResults
from taskq_cloud.stores.results.memcached import MemcachedResults
from taskq_cloud.stores.results.mongodb import MongoDBResults
from taskq_cloud.stores.results.postgresql import PostgreSQLResults
from taskq_cloud.stores.results.redis import RedisResults
from taskq_cloud.stores.results.s3 import S3Results
from taskq_cloud.stores.results.sqlalchemy import SQLAlchemyResults
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.chaos import run_workflow
from tests.stores.results.addresses import cassandra_address, couchbase_servers
from tests.stores.results.django_project import configured, create_results_tables, database_settings
from tests.stores.results.sql_databases import mariadb_database, postgresql_database
from tests.workflows import evaluate, workflows

pytestmark = pytest.mark.slow

DOCUMENTS = ("arangodb", "cassandra", "cosmosdb", "couchbase", "couchdb", "elasticsearch", "mongodb")
SQL = ("django-db", "postgresql", "sqlalchemy")
STORES = ("azure", "dynamodb", "file", "gcs", "memcached", "redis", "s3", *DOCUMENTS, *SQL)
MEMBERS = int(os.environ.get("TASKQ_TEST_JOIN_MEMBERS", "250"))
"""Enough members for more than one set; docs/workflows.md states the cost of 1,000 members."""
MOST_CALLS = (
    {"azure": 3.1, "dynamodb": 2.1, "file": 2.1, "gcs": 3.1, "memcached": 2.1, "redis": 2.1, "s3": 3.1}
    | {
        "arangodb": 4.8,
        "cassandra": 5.8,
        "cosmosdb": 5.8,
        "couchbase": 4.8,
        "couchdb": 4.8,
        "elasticsearch": 4.8,
        "mongodb": 2.1,
    }
    | dict.fromkeys(SQL, 2.1)
)
"""The most calls for each member of a chord: one for its result and one for its arrival. Object stores also need one to
read the result; the other stores read a hundred results in one call. Stores of documents, except MongoDB, read a join
before they write it, and again if another member has written it meanwhile. The fraction covers the calls that are made
once for each set of members and once for the chord."""
T, U = ("task", "a", False), ("task", "b", False)

ON_A_SERVICE = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=10,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")


@pytest.fixture
def sql_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str, FakeClock], Any]]:
    """A function that makes a store in an SQL database of its own."""
    server_url = request.getfixturevalue("server_url")
    with ExitStack() as stack:

        def make(name: str, clock: FakeClock) -> Any:
            if name == "postgresql":
                return PostgreSQLResults(stack.enter_context(postgresql_database(server_url(name))), clock=clock)
            if name == "sqlalchemy":
                return SQLAlchemyResults(stack.enter_context(mariadb_database(server_url("mariadb"))), clock=clock)
            databases = {"default": database_settings(f"sqlite:///{tmp_path / 'results.db'}")}
            stack.enter_context(configured(databases))
            create_results_tables("default")
            return DjangoResults(clock=clock)

        yield make


@pytest.fixture(params=STORES)
def make_bench(request: pytest.FixtureRequest) -> Callable[[TaskQ], Bench]:
    """A function that gives an application the store, and the memory broker."""
    # The stack removes expired items by its own clock, while callers set the expiry of pages by theirs.
    clock = FakeClock(time.time())
    made = request.getfixturevalue
    unique = {"global_keyprefix": str(uuid4())}
    store: Any
    match request.param:
        case name if name in DOCUMENTS:
            store = documents(name, made, clock)
        case "azure":
            store = AzureBlobResults(made("make_container")(), clock=clock)
        case "dynamodb":
            made("aws_environment")
            store = DynamoDBResults(made("make_table")(), clock=clock)
        case "file":
            store = FileResults(made("tmp_path") / "results", clock=clock)
        case "gcs":
            store = GCSResults(made("make_gcs_bucket")(), clock=clock)
        case "memcached":
            store = MemcachedResults([urlsplit(made("server_url")("memcached")).netloc], unique, clock=clock)
        case "redis":
            store = RedisResults([made("server_url")("redis")], unique, clock=clock)
        case name if name in SQL:
            store = made("sql_store")(name, clock)
        case "s3":
            store = S3Results(made("make_bucket")(), clock=clock)
    return partial(Bench.of, clock=clock, store=store)


def documents(name: str, made: Callable[[str], Any], clock: FakeClock) -> Any:
    """A store of documents, with a database or an index of its own."""
    unique = f"celery-{uuid4()}"
    store: Any
    match name:
        case "arangodb":
            store = ArangoDBResults(HTTPServer(made("arangodb").url), clock=clock)
        case "cassandra":
            store = CassandraResults(cassandra_address(made("cassandra")), "celery", clock=clock)
        case "couchbase":
            server = made("couchbase")
            store = CouchbaseResults(couchbase_servers(server), server.bucket, clock=clock)
        case "cosmosdb":
            store = CosmosDBResults(made("cosmosdb"), unique, clock=clock)
        case "couchdb":
            store = CouchDBResults(made("couchdb"), unique, clock=clock)
        case "elasticsearch":
            store = ElasticsearchResults(made("elasticsearch"), unique, clock=clock)
        case _:
            store = MongoDBResults(made("server_url")("mongodb"), unique, clock=clock)
    return store


def has_chord(node: Any) -> bool:
    match node:
        case ("chord", *_):
            return True
        case ("chain" | "group", inner):
            return any(map(has_chord, inner))
    return False


@ON_A_SERVICE
@given(node=workflows().filter(has_chord), seed=st.integers(0, 2**32), over=st.sampled_from([1, 1000]))
@example(node=("chain", [T, ("group", [T, ("chord", [T, U, T], U)]), U, ("group", [T, U])]), seed=7, over=1)
@example(node=("chord", [("failing", "a"), T, ("chain", [T, U])], ("group", [T, U])), seed=8, over=1000)
def test_workflow_with_crashes_and_duplicates_has_the_right_result(
    make_bench: Callable[[TaskQ], Bench], node: Any, seed: int, over: int
) -> None:
    value, _ = run_workflow(node, seed, 0.2, make_bench=make_bench, fan_out_members=over)
    assert value == evaluate(node)


def test_chord_with_many_members_takes_few_calls_for_each(
    make_bench: Callable[[TaskQ], Bench], request: pytest.FixtureRequest, record_property: Any
) -> None:
    value, chaos = run_workflow(("chord", [T] * MEMBERS, U), make_bench=make_bench)
    assert value == ["b", [["a"]] * MEMBERS]
    assert chaos.runs == MEMBERS + 1
    calls = chaos.calls.total() / MEMBERS
    record_property("calls a member", calls)
    assert calls <= MOST_CALLS[request.node.callspec.params["make_bench"]], chaos.calls
