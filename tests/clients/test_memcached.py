"""The client of memcached, without a server."""

from __future__ import annotations

import pytest
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError, MemcacheUnexpectedCloseError

from taskq_cloud.clients.memcached import MemcachedClient, open_client
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured

CALL = Call("memcached", "gets", {"keys": ["a-key"]})


def test_keys_are_on_the_servers_that_celerys_client_chooses() -> None:
    addresses = ["10.0.0.1:11211", "cache.internal:11212", "localhost", "/run/memcached.sock"]
    theirs = HashClient(addresses)
    servers = open_client("memcached", {"servers": addresses})._client
    keys = [f"celery-task-meta-{number}" for number in range(500)]
    assert {key: servers.name_of(key) for key in keys} == {key: theirs.hasher.get_node(key) for key in keys}
    assert set(servers.by_server(keys)) == {"10.0.0.1:11211", "cache.internal:11212", "localhost:11211", addresses[3]}


@pytest.mark.parametrize(
    ("error", "code", "trouble"),
    [
        (MemcacheServerError(b"object too large for cache"), "TooLarge", Trouble.REFUSED),
        (MemcacheServerError(b"out of memory storing object"), "OutOfMemory", Trouble.TRANSIENT),
        (MemcacheUnexpectedCloseError(), "MemcacheUnexpectedCloseError", Trouble.TRANSIENT),
        (MemcacheClientError(b"bad data chunk"), "MemcacheClientError", Trouble.REFUSED),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError", Trouble.TRANSIENT),
        (TimeoutError(), "TimeoutError", Trouble.TRANSIENT),
    ],
)
def test_error_says_whether_it_may_pass(error: Exception, code: str, trouble: Trouble) -> None:
    found = MemcachedClient.sdk.call_error(CALL, error)
    assert (found.code, found.trouble) == (code, trouble)
    assert found.message


def test_unknown_operation_is_refused() -> None:
    client = open_client("memcached", {"servers": ["localhost"]})
    with pytest.raises(CallError, match="no such operation"):
        client.call(Call("memcached", "flush_all"))


def test_address_that_cannot_be_read_names_the_service() -> None:
    with pytest.raises(ImproperlyConfigured, match="memcached: the address of a server can't be read"):
        open_client("memcached", {"servers": ["localhost:port"]})
