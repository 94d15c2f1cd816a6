"""What a user writes, for a type checker to read; nothing runs it. A line marked ``error:`` must be one."""

from __future__ import annotations

from typing import assert_type

from taskq_cloud import (
    AsyncResult,
    BoundTask,
    GroupResult,
    ResultSet,
    Retry,
    SendError,
    Signature,
    Task,
    TaskQ,
    allow_join_result,
    chain,
    chord,
    chunks,
    group,
    signature,
)

app = TaskQ("shop", broker="memory://", task_time_limit=60)


@app.task
def resize(key: str, width: int = 100) -> str:
    return key * width


@app.task
async def notify(user: int) -> None:
    await AsyncResult[str]("id", app).aget(timeout=1)


@app.task(name="sized", queue="images", time_limit=60)
def size(key: str) -> int:
    return len(key)


@app.task(bind=True, autoretry_for=(OSError,), retry_backoff=True)
def fetch(self: BoundTask, url: str) -> int:
    if self.request.retries:
        raise Retry(when=5)
    if not url:
        self.retry(countdown=1)
    return len(url)


def calls() -> None:
    assert_type(resize("a.png", 5), str)
    resize.delay("a.png")
    resize.delay("a.png", width=200)
    resize.apply_async(("a.png",), {"width": 5}, countdown=5, queue="other")
    result = resize.delay("a.png")
    assert_type(result, AsyncResult[str])
    assert_type(result.get(timeout=10), str)
    assert_type(size.apply_async(("a.png",), countdown=5).get(), int)
    assert_type(notify.delay(5).get(), None)
    assert_type(size.apply(("a.png",)).get(), int)
    assert_type(fetch.delay("https://example.com").get(), int)
    assert_type(resize.map_async([("a.png", 1)])[0].get(), str)
    assert_type(size.AsyncResult("id").get(), int)
    result.revoke()
    fetch.delay("https://example.com")
    try:
        resize.map_async([("a.png", 1), ("b.png", 2)], countdown=5)
    except SendError as error:
        assert_type(error.failures[0], Exception)

    assert_type(fetch("https://example.com"), int)
    assert_type(size("a.png"), int)

    fetch.delay()  # error: call-arg
    fetch.delay(5)  # error: arg-type
    size.delay(5)  # error: arg-type
    resize.delay()  # error: call-arg
    resize.delay(5)  # error: arg-type
    resize.delay("a.png", "wide")  # error: arg-type
    resize.delay("a.png", height=5)  # error: call-arg
    resize("a.png", "wide")  # error: arg-type
    notify.delay("nobody")  # error: call-overload
    resize.no_such_method()  # error: attr-defined
    result.get("10")  # error: arg-type
    resize.apply_async(("a.png",), countdwn=5)  # error: call-arg
    resize.apply_async(("a.png",), queue=5)  # error: arg-type
    resize.map_async([("a.png",)], expires="soon")  # error: arg-type
    app.send_task("sized", ("a.png",), quue="images")  # error: call-arg


def declarations() -> None:
    app.task(name="a", every="5m", overlap="skip", time_limit=60)
    app.task(name="b", retry_kwargs={"max_retries": 1}, throws=[KeyError], runtime="lambda")
    app.task(max_retrys=3)  # error: call-overload
    app.task(time_limit="60")  # error: call-overload
    app.task(runtime="fargate")  # error: call-overload


async def asynchronous_calls() -> None:
    result = await resize.adelay("a.png", 200)
    assert_type(await result.aget(timeout=10), str)
    assert_type(await (await size.aapply_async(("a.png",))).aget(), int)
    assert_type(await (await notify.amap_async([(5,)]))[0].aget(), None)
    await notify(5)
    await notify.adelay(5)

    await notify.adelay()  # error: call-overload
    await resize.adelay(5)  # error: arg-type


def results() -> None:
    assert_type(GroupResult.restore("id", app=app), GroupResult | None)
    assert_type(app.GroupResult.restore("id"), GroupResult | None)
    assert_type(app.GroupResult("id"), GroupResult)
    with allow_join_result():
        ResultSet([AsyncResult[int]("id", app=app)]).get(timeout=1)
    AsyncResult[int]("id", app=app, timeout=1)  # error: call-arg
    ResultSet(5)  # error: arg-type


def workflows() -> None:
    assert_type(chain(size.s("a"), size.s()), chain)
    assert_type(group([size.s("a")]), group)
    assert_type(chord([size.s("a")], size.s()), chord)
    assert_type(chain.from_dict({}), chain)
    Signature("sized", ("a",), {"key": "b"}, app=app, countdown=1).delay()
    chain(size.s("a"), resize.s(width=5)).delay()
    group(size.s(key) for key in "ab").apply_async(link=size.s(), countdown=1)
    chord([size.s("a")])(size.s())
    chunks(size.s(), [("a",)], 10).delay()
    signature("sized", ("a",), {}, {"queue": "images"}, app=app).delay()
    size.apply_async(("a",), link=size.s(), link_error=[size.s()])
    sig = size.s("a").set(queue="images", countdown=1).link(size.s()).link_error(notify)
    assert_type(sig.clone(("b",)).on_error(notify.s()).stamp(customer=7).task, str)
    assert_type(sig.delay().state, str)
    assert_type(chain(sig, size.s()).set(task_id="id").partial(("b",)), chain)
    assert_type(sig | size.s(), chain)
    chain(sig, size.s()).delay().get(timeout=10)
    assert_type(group([sig]).delay(), GroupResult)
    assert_type([member.id for member in group([sig]).delay()], list[str])
    chord([sig], size.s()).apply().get()
    assert_type(signature(group([sig])), group)
    parent = sig.delay().parent
    assert parent is None or parent.ready()
    chunks(size.s(), [("a",)], "ten")  # error: arg-type
    chain(sig, 5)  # error: arg-type
    sig.link(5)  # error: arg-type
    sig.set(countdwn=5)  # error: call-arg
    group([sig]).apply_async(queue=5)  # error: arg-type
    size.s("a").delya()  # error: attr-defined


def any_task(task: Task[[str, int], str]) -> None:
    task.delay("a.png", 5)
    task.delay("a.png")  # error: call-arg
