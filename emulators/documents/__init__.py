"""Small servers of document databases for which no server can be had on test machines: ArangoDB and Riak.

Each answers over a real socket as the database's published HTTP protocol says, for the requests that this package
makes: statuses, error numbers, revisions and conditions. They keep everything in memory, and their conditions hold
exactly, which a cluster's may not.
"""

from emulators.documents.arangodb import ArangoDB
from emulators.documents.cassandra import Cassandra
from emulators.documents.couchbase import Couchbase
from emulators.documents.http_server import Answer
from emulators.documents.riak import Riak

__all__ = ["Answer", "ArangoDB", "Cassandra", "Couchbase", "Riak"]
