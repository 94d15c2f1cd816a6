"""The server of Pub/Sub that the tests of the broker use."""

from tests.brokers.conftest import pstest_host

__all__ = ["pstest_host"]
