"""What a rate limit costs a worker: nothing that waits is held, and nothing is taken before there is room to run it."""

import threading

from taskq_cloud import TaskQ
from tests.worker.serving import serving, until


async def test_tasks_over_their_limit_hold_neither_a_slot_of_the_pool_nor_the_worker(app: TaskQ):
    @app.task(rate_limit="1/h")
    def rare(number: int) -> int:
        return number

    @app.task
    def common() -> str:
        return "done"

    waiting = [rare.delay(number) for number in range(30)]
    async with serving(app, concurrency=1) as worker:
        assert await common.delay().aget(timeout=10) == "done"
        await until(lambda: sum(each.ready() for each in waiting) == 1, "one may begin")
        await until(lambda: app.run(app.broker.depth("celery")).delayed == 29, "the others are back in the queue")
        await until(lambda: len(worker._held) == worker._slots.taken == 0, "nothing is held")


async def test_a_busy_worker_takes_no_slot_for_what_it_can_not_run_yet(app: TaskQ):
    begun, end = threading.Event(), threading.Event()

    @app.task
    def long() -> None:
        begun.set()
        end.wait(20)

    @app.task(name="limited", rate_limit="10/s")
    def limited() -> None: ...

    first, result = long.delay(), limited.delay()
    async with serving(app, concurrency=1) as worker:
        await until(lambda: begun.is_set() and len(worker._held) == 2, "the limited task is held, the pool busy")
        assert app.store._slots._next == {}
        end.set()
        await result.aget(timeout=10)
        await first.aget(timeout=10)
    assert [*app.store._slots._next] == ["task limited"]


async def test_a_worker_that_stops_gives_back_what_waits_for_room(app: TaskQ):
    begun, end = threading.Event(), threading.Event()

    @app.task
    def long() -> None:
        begun.set()
        end.wait(20)

    @app.task(rate_limit="10/s")
    def limited() -> None: ...

    long.delay()
    limited.delay()
    async with serving(app, concurrency=1) as worker:
        await until(lambda: begun.is_set() and len(worker._held) == 2, "the limited task is held, the pool busy")
        worker.stop()
        await until(lambda: app.run(app.broker.depth("celery")).waiting == 1, "it is back in its queue")
        end.set()
    assert app.store._slots._next == {}
