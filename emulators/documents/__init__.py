"""Small servers of databases for which no server can be had on test machines: ArangoDB, Cassandra, Couchbase and Riak.

Each answers over a real socket as the database's published protocol says, for the requests that this package and its
drivers make: statuses, error numbers, versions and conditions. They keep everything in memory, and their conditions
hold exactly, which a cluster's may not.
"""

from emulators.documents.arangodb import ArangoDB
from emulators.documents.cassandra import Cassandra
from emulators.documents.couchbase import Couchbase
from emulators.documents.http_server import Answer
from emulators.documents.riak import Riak

__all__ = ["Answer", "ArangoDB", "Cassandra", "Couchbase", "Riak"]
