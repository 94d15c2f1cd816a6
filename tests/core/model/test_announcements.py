"""Announcements within a process: none between a look and a wait is lost, in threads and on event loops."""

from __future__ import annotations

import asyncio
import threading

from taskq_cloud.core.model.announcements import Announcements, Listener


def test_announcement_before_the_wait_ends_it_at_once() -> None:
    announcements, listener = Announcements(), Listener()
    announcements.enter(listener, {1: "one", 2: "two"})
    announcements.announce([2, 3])
    assert listener.wait(3600)
    assert listener.take() == ["two"]
    assert not listener.wait(0), "what was taken is not heard again"


def test_announcement_of_another_thread_ends_the_wait() -> None:
    announcements, listener = Announcements(), Listener()
    announcements.enter(listener, {"work": "work"})
    threading.Timer(0.02, announcements.announce, [["work"]]).start()
    assert listener.wait(3600)
    assert listener.take() == ["work"]


async def test_announcement_of_another_thread_ends_the_wait_of_a_coroutine() -> None:
    announcements, listener = Announcements(), Listener()
    announcements.enter(listener, {"work": "work"})
    threading.Timer(0.02, announcements.announce, [["work"]]).start()
    assert await listener.wait_on_loop(3600)
    assert await listener.wait_on_loop(3600), "it was not taken yet"
    assert listener.take() == ["work"]
    assert not await listener.wait_on_loop(0)


def test_announcement_to_a_closed_loop_is_ignored() -> None:
    announcements, listener = Announcements(), Listener()
    announcements.enter(listener, {"work": "work"})
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(listener.wait_on_loop(3600))
    loop.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    loop.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
    loop.close()
    announcements.announce(["work"])
    assert listener.take() == ["work"]


def test_all_listeners_of_a_topic_hear_it_until_they_are_closed() -> None:
    announcements, first, second = Announcements(), Listener(), Listener()
    announcements.enter(first, {"work": "work"})
    announcements.enter(second, {"work": "work", "mail": "mail"})
    announcements.announce(["work"])
    assert (first.take(), second.take()) == (["work"], ["work"])
    first.close()
    announcements.announce_all()
    assert (first.take(), second.take()) == ([], ["work", "mail"])
    second.close()
    assert not announcements, "nothing of closed listeners is kept"


def test_listener_that_was_closed_is_not_entered_any_more() -> None:
    announcements, listener = Announcements(), Listener()
    listener.close()  # its caller has given up before the thread got so far
    announcements.enter(listener, {"one": "one"})
    assert not announcements
