"""Tests of the URLs and options of Redis, which need no server."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from taskq_cloud.brokers.redis import RedisBroker
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.core.servers.redis import RedisServer, redis_server, redis_service
from taskq_cloud.errors import ImproperlyConfigured


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis://", RedisServer(host="localhost")),
        ("redis://cache:6380/3", RedisServer(host="cache", port=6380, database=3)),
        ("redis://:p%40ss@cache", RedisServer(host="cache", password="p@ss")),
        ("redis://bob:secret@[::1]/1", RedisServer(host="::1", database=1, username="bob", password="secret")),
        ("redis+socket:///run/redis.sock?virtual_host=2", RedisServer(path="/run/redis.sock", database=2)),
        ("redis+socket://:secret@/run/redis.sock", RedisServer(path="/run/redis.sock", password="secret")),
        ("sentinel://watch", RedisServer(host="watch", port=26379, sentinel=True)),
        (
            "rediss://cache?ssl_cert_reqs=CERT_NONE&ssl_ca_certs=/ca.pem",
            RedisServer(
                host="cache",
                tls=(("ssl_ca_certs", "/ca.pem"), ("ssl_cert_reqs", "none"), ("ssl_check_hostname", "true")),
            ),
        ),
    ],
)
def test_url_names_server(url: str, server: RedisServer) -> None:
    assert redis_server(url) == server


def test_password_is_not_shown() -> None:
    assert "secret" not in repr(redis_server("redis://bob:secret@cache"))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://:secret@cache/work", r"redis://\*\*\*@cache/work: the database is a number"),
        ("redis://cache:port", "the port can't be read"),
        ("redis://cache/0?ssl_cert_reqs=none", "unknown option 'ssl_cert_reqs'"),
        ("rediss://cache?ssl_cert_reqs=maybe", "ssl_cert_reqs is required, optional or none, not 'maybe'"),
        ("rediss://cache?ssl_check_hostname=1", "ssl_check_hostname is true or false"),
        ("redis+socket://", "names no socket"),
        ("redis+socket:///run/redis.sock?virtual_host=x", "the database is a number"),
        ("redis://cache?layout=kombu", "layout 'kombu' is unknown: write 'taskq' or 'celery'"),
        ("sentinel://watch", "set broker_transport_options = {'master_name'"),
        ("sentinel://watch;redis://cache", "sentinel:// can't be mixed"),
    ],
)
def test_wrong_url_is_refused_with_the_way_out(url: str, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem):
        broker_from_url(url, {})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"failover_strategy": "random"}, "write 'round-robin' or 'shuffle'"),
        ({"master_name": "main", "sentinel_kwargs": {"db": 1}}, "sentinel_kwargs takes username and password"),
    ],
)
def test_wrong_option_is_refused_with_the_way_out(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem):
        broker_from_url("sentinel://watch", {"master_name": "main", **options})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"master": "main"}, "'master' isn't an option of Redis; known: failover_strategy, global_keyprefix, layout"),
        ({"global_keyprefix": "{shop}:"}, "global_keyprefix is a text without braces"),
        ({"layout": "kombu"}, "layout 'kombu' is unknown"),
    ],
)
def test_wrong_option_of_broker_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem):
        broker_from_url("redis://one", options)


def test_options_of_celery_have_no_effect_in_this_layout() -> None:
    options = {"visibility_timeout": 3600, "priority_steps": [0, 5], "health_check_interval": 10}
    assert isinstance(broker_from_url("redis://one", options), RedisBroker)


def test_name_of_service_has_no_password() -> None:
    name, service = redis_service(["redis://bob:secret@one", "redis://:secret@two/1"], {})
    assert name == "redis:redis://bob@one:6379/0;redis://two:6379/1"
    assert dict(service.options)["urls"] == ("redis://bob:secret@one", "redis://:secret@two/1")


def test_several_urls_are_servers_of_one_broker() -> None:
    broker = broker_from_url("redis://one/1;redis://two/1", {"failover_strategy": "shuffle"})
    assert list(broker.services) == ["redis:redis://one:6379/1;redis://two:6379/1"]


def test_options_of_the_layout_are_taken_out_of_the_url() -> None:
    broker = broker_from_url("redis://one?global_keyprefix=shop:", {})
    assert isinstance(broker, RedisBroker)
    [service] = broker.services.values()
    assert dict(service.options)["urls"] == ("redis://one",)


def test_layout_of_celery_is_another_broker() -> None:
    by_url = broker_from_url("redis://one?layout=celery", {})
    by_option = RedisBroker.from_url(urlsplit("redis://one"), {"layout": "celery"})
    assert type(by_url) is type(by_option) is not RedisBroker
