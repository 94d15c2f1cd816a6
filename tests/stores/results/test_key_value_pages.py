"""The pages about Redis, memcached and files say what is so: their code runs on real servers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
import redis as redis_py

from emulators.process import Emulator
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.records.record import STARTED
from taskq_cloud.stores.results.memcached import MemcachedResults
from taskq_cloud.stores.results.redis import RedisResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import driving
from tests.docs.samples import DOCS, Block, assert_prints, blocks_of, open_page

pytestmark = pytest.mark.slow


def test_code_of_the_page_runs_on_redis(own_server: Callable[[str], Emulator], library_loggers: None) -> None:
    url = own_server("redis").url
    with open_page() as page:
        for block in blocks_of("redis-results.md"):
            code = block.code.replace("redis://localhost:6379", url)
            assert_prints(block, page.run(Block(block.page, block.line, block.mark, code, block.prints)))


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_permissions_on_the_page_suffice(own_server: Callable[[str], Emulator], driver: str) -> None:
    server = own_server("redis")
    [command] = re.findall(r"^ +(ACL SETUSER .*)$", (DOCS / "redis-results.md").read_text(), re.MULTILINE)
    with redis_py.Redis.from_url(server.url) as client:
        client.execute_command(*command.split())
    url = server.url.replace("://", "://shop:password@")
    store = RedisResults([url], {"global_keyprefix": "shop:"})
    with driving(driver, store.services) as run:
        record = a_record(STARTED, expires_at=time.time() + 60)
        listener = Listener()
        assert run(store.listen([record.id], listener))
        listener.close()
        assert run(store.save([record])) == [True]
        assert run(store.save([a_record(id=record.id)])) == [True]
        assert set(run(store.load([record.id]))) == {record.id}
        run(store.delete([record.id]))
        assert run(store.join("a-join", "0", 1, None))
        assert run(store.join("a-join", "0", 1, time.time() + 60))
        assert run(store.claim("a-lock", "me", 60)) == 1
        assert run(store.reserve("a-rate", 1, 0)) is not None


def test_urls_of_memcached_on_the_page_are_read() -> None:
    text = (DOCS / "key-value-results.md").read_text()
    urls = sorted(set(re.findall(r"`((?:cache\+)?memcached://[^`]+)`", text)))
    stores = [store_from_url(url, {}) for url in urls]
    assert len(stores) == 4
    assert {type(store) for store in stores} == {MemcachedResults}
    servers = [dict(service.options)["servers"] for store in stores for service in store.services.values()]
    assert ("one:11211", "two:11211") in servers
    assert ("/run/memcached.sock",) in servers
    assert urlsplit(urls[0]).scheme == "cache+memcached"
