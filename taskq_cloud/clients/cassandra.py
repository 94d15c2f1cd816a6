"""The client of Cassandra, by cassandra-driver: statements on one table, as many at once as a call has.

==========  =======================  ============================================================================
operation   parameters               answer
==========  =======================  ============================================================================
``read``    statements, consistency  for each statement its rows, as dicts
``write``   the same, and            the rows of the statement, or of the batch if there are several: a condition's
            serial_consistency       decision is ``[applied]``
``create``  create, columns          (nothing); ``create`` is the statement that creates the table, and ``columns``
                                     are the definitions of the columns that are added to a table without them
==========  =======================  ============================================================================

A statement is its text with ``?`` for each value, and the values. Every call also has ``keyspace`` and ``table``. A
missing keyspace or table, or one without our columns, is the code ``KeyspaceNotFound`` or ``TableNotFound``: the schema
is asked, as servers have several texts for it.

The first call connects. The driver's futures are bridged to the event loop; connecting and preparing statements, which
the driver does only while a thread waits, are done in a thread there. The driver's own retries are off.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.clients.base import MALFORMED, SDK, AsyncSDKClient, Operation, SDKClient
from taskq_cloud.clients.cassandra_settings import arguments_of, level_of
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    import cassandra as sdk
    from cassandra import connection, protocol
    from cassandra.cluster import Cluster, NoHostAvailable
    from cassandra.query import BatchStatement, BatchType
except ImportError as error:
    raise MissingExtra("Cassandra", "cassandra") from error

KEYSPACE_NOT_FOUND: Final = "KeyspaceNotFound"
TABLE_NOT_FOUND: Final = "TableNotFound"

_FAILURES: Final = (sdk.DriverException, NoHostAvailable, connection.ConnectionException, protocol.ErrorMessage)
_TRANSIENT: Final = (
    sdk.Unavailable,
    sdk.Timeout,
    sdk.CoordinationFailure,
    sdk.OperationTimedOut,
    NoHostAvailable,
    connection.ConnectionException,
    protocol.ServerError,
    protocol.IsBootstrappingErrorMessage,
    protocol.TruncateError,
)
_COLUMNS: Final = "SELECT column_name FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s"
_KEYSPACES: Final = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s"


def open_client(service: str, options: Mapping[str, Any]) -> CassandraClient:
    """Make a client of a cluster; the first call connects.

    Args:
        service: the service's name, for errors.
        options: ``hosts``: names or addresses; ``port``; ``user`` and ``password``, or ``auth_provider`` and
            ``auth_kwargs``: the name of a class of ``cassandra.auth`` and its arguments; ``tls``, ``ca_file`` and
            ``verify``; ``bundle``: the file of Astra's secure connect bundle, in place of hosts; ``options``: further
            arguments of the driver's ``Cluster``.

    Raises:
        ImproperlyConfigured: an option can't be read.
    """
    return CassandraClient(_Cluster(service, options))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncCassandraClient:
    """Make a client of a cluster for an event loop; see ``open_client``."""
    cluster = _AsyncCluster(_Cluster(service, options))
    return AsyncCassandraClient(cluster, cluster.close)


class _NotFoundError(Exception):
    """A keyspace or a table that is missing.

    Args:
        code: our own code for it.
        message: what is missing.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Session:
    """A session of the driver, and the statements that are prepared in it.

    Args:
        cluster: the driver's cluster.
        session: its session.
    """

    def __init__(self, cluster: Any, session: Any) -> None:
        self.cluster = cluster
        self.session = session
        self._prepared: dict[str, Any] = {}

    def is_ready(self, call: Call) -> bool:
        """Whether the statements of a call are prepared."""
        return all(text in self._prepared for text, _ in call.parameters["statements"])

    def prepare(self, call: Call) -> None:
        """Prepare the statements of a call, after a look whether the table has what they need."""
        if not self._prepared:
            self._look(call)  # the driver would log a statement that can't be prepared as an error of the program
        for text, _ in call.parameters["statements"]:
            if text not in self._prepared:
                self._prepared[text] = self.session.prepare(text)

    def start(self, call: Call) -> list[Any]:
        """Start the statements of a call, and return their futures."""
        given = call.parameters
        level = level_of(given["consistency"])
        bound = []
        for text, values in given["statements"]:
            statement = self._prepared[text].bind(values)
            statement.consistency_level = level
            bound.append(statement)
        if call.operation == "write":
            serial = level_of(given["serial_consistency"])
            if bound[1:]:
                # The statements are of one partition, whose writes are atomic without a log of the batch.
                batch = BatchStatement(BatchType.UNLOGGED, consistency_level=level, serial_consistency_level=serial)
                batch.add_all(bound, [()] * len(bound))
                bound = [batch]
            else:
                bound[0].serial_consistency_level = serial
        return [self.session.execute_async(each) for each in bound]

    def create(self, call: Call) -> None:
        """Create the table, or add the columns that it lacks."""
        given = call.parameters
        existing = self._columns(call)
        if not existing:
            self._keyspace(call)
            self.session.execute(given["create"])
            return
        missing = [f"{name} {kind}" for name, kind in given["columns"] if name not in existing]
        if missing:
            try:
                self.session.execute(f"ALTER TABLE {_qualified(given)} ADD {', '.join(missing)}")
            except sdk.RequestValidationException:
                # Another process may have added them at the same moment.
                if not {name for name, _ in given["columns"]} <= self._columns(call):
                    raise

    def _look(self, call: Call) -> None:
        existing = self._columns(call)
        if not existing:
            self._keyspace(call)
        needed = {name for name, _ in call.parameters["columns"]}
        if not needed <= existing:
            missing = ", ".join(sorted(needed - existing)) if existing else "everything"
            table = _qualified(call.parameters)
            raise _NotFoundError(TABLE_NOT_FOUND, f"table {table} lacks {missing}")

    def _columns(self, call: Call) -> set[str]:
        names = (call.parameters["keyspace"], call.parameters["table"])
        return {row["column_name"] for row in self.session.execute(_COLUMNS, names)}

    def _keyspace(self, call: Call) -> None:
        keyspace = call.parameters["keyspace"]
        if not list(self.session.execute(_KEYSPACES, (keyspace,))):
            raise _NotFoundError(KEYSPACE_NOT_FOUND, f"keyspace {keyspace} does not exist")


class _Cluster:
    """A cluster, with the session that the first call opens.

    Args:
        service: the service's name, for errors.
        options: see ``open_client``.
    """

    def __init__(self, service: str, options: Mapping[str, Any]) -> None:
        self._lock = threading.Lock()
        self._session: _Session | None = None
        try:
            self._arguments = arguments_of(options)
        except MALFORMED as error:
            raise ImproperlyConfigured(f"{service}: an option can't be read: {error}") from error

    def ready(self, call: Call) -> _Session | None:
        """The session, if the statements of a call are prepared in it."""
        session = self._session
        return session if session is not None and session.is_ready(call) else None

    def prepared(self, call: Call) -> _Session:
        """The session, with the statements of a call prepared in it; threads wait for the one that connects."""
        session = self.connected()
        session.prepare(call)
        return session

    def connected(self) -> _Session:
        """The session."""
        with self._lock:
            if self._session is None:
                cluster = Cluster(**self._arguments)
                try:
                    session = cluster.connect()
                except NoHostAvailable as error:
                    cluster.shutdown()
                    # Among them may be an exception that was raised into the call, such as a time limit.
                    raise error from next(iter(error.errors.values()), None)
                except BaseException:
                    cluster.shutdown()
                    raise
                # Conditional writes have the times of the servers, and a removal with another clock's could miss them.
                session.use_client_timestamp = False
                self._session = _Session(cluster, session)
            return self._session

    def discard(self, session: _Session) -> None:
        """Close a session that has no server left: the next call connects at once, not after the driver's pauses."""
        with self._lock:
            if self._session is session:
                self._session = None
        session.cluster.shutdown()

    def close(self) -> None:
        """Close the connections."""
        session = self._session
        if session is not None:
            self.discard(session)


def _qualified(parameters: Mapping[str, Any]) -> str:
    return f'"{parameters["keyspace"]}"."{parameters["table"]}"'


class _SyncCluster:
    """Makes calls in the thread that makes them.

    Args:
        cluster: the cluster.
    """

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster

    def prepared(self, call: Call) -> _Session:
        """The session, with the statements of a call prepared in it."""
        return self._cluster.ready(call) or self._cluster.prepared(call)

    def discard(self, session: _Session) -> None:
        """Close a session: see ``_Cluster.discard``."""
        self._cluster.discard(session)

    @staticmethod
    def results(session: _Session, call: Call) -> list[list[dict[str, Any]]]:
        """The rows of each statement of a call."""
        return [list(each.result()) for each in session.start(call)]

    def create(self, call: Call) -> None:
        """Create the table: see ``_Session.create``."""
        self._cluster.connected().create(call)


class _AsyncCluster:
    """Makes calls for an event loop.

    Args:
        cluster: the cluster.
    """

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster

    async def prepared(self, call: Call) -> _Session:
        """The session, with the statements of a call prepared in it."""
        session = self._cluster.ready(call)
        return await asyncio.to_thread(self._cluster.prepared, call) if session is None else session

    async def discard(self, session: _Session) -> None:
        """Close a session: see ``_Cluster.discard``."""
        await asyncio.to_thread(self._cluster.discard, session)

    @staticmethod
    async def results(session: _Session, call: Call) -> list[list[dict[str, Any]]]:
        """The rows of each statement of a call."""
        return await asyncio.gather(*(_bridged(each) for each in session.start(call)))

    async def create(self, call: Call) -> None:
        """Create the table: see ``_Session.create``."""
        await asyncio.to_thread(lambda: self._cluster.connected().create(call))

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._cluster.close)


async def _bridged(response: Any) -> list[dict[str, Any]]:
    """Wait for a future of the driver, whose callbacks run in the driver's thread."""
    loop = asyncio.get_running_loop()
    rows: asyncio.Future[list[dict[str, Any]]] = loop.create_future()

    def end(set_result: Any, outcome: Any) -> None:
        if not rows.done():
            set_result(outcome)

    def ended(set_result: Any, outcome: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(end, set_result, outcome)

    response.add_callbacks(
        lambda found: ended(rows.set_result, list(found or ())), lambda error: ended(rows.set_exception, error)
    )
    return await rows


def _operation(cluster: Any, call: Call) -> Operation:
    match call.operation:
        case "read" | "write":
            session = yield cluster.prepared(call)
            try:
                results = yield cluster.results(session, call)
            except NoHostAvailable:
                yield cluster.discard(session)
                raise
            return results if call.operation == "read" else results[0]
        case "create":
            return (yield cluster.create(call))
    raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)


def _call_error(call: Call, error: Exception) -> CallError:
    if isinstance(error, _NotFoundError):
        return CallError(call, error.code, str(error), Trouble.REFUSED)
    # The driver tries all servers, and lists what each of them has answered.
    each = list(error.errors.values()) if isinstance(error, NoHostAvailable) else []
    cause = next((one for one in each if isinstance(one, sdk.AuthenticationFailed)), error)
    name, said = type(cause).__name__, str(cause)
    if isinstance(cause, protocol.OverloadedErrorMessage):
        return CallError(call, name, said, Trouble.THROTTLED)
    return CallError(call, name, said, Trouble.TRANSIENT if isinstance(cause, _TRANSIENT) else Trouble.REFUSED)


_CASSANDRA: Final = SDK(operation=_operation, failures=(*_FAILURES, _NotFoundError), call_error=_call_error)


class CassandraClient(SDKClient):
    """A client of one cluster. Threads may share it.

    Args:
        cluster: the cluster.
    """

    sdk = _CASSANDRA

    def __init__(self, cluster: _Cluster) -> None:
        super().__init__(_SyncCluster(cluster), cluster.close)


class AsyncCassandraClient(AsyncSDKClient):
    """A client of one cluster, used on the event loop that opened it."""

    sdk = _CASSANDRA
