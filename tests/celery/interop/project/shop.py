"""A project with Celery: its tasks, and workflows of them. For ``taskq_cloud.celery``, only its imports are changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery, Task, chain, chord, group, signature
from celery.canvas import StampingVisitor
from celery.exceptions import Ignore, Reject
from celery.utils.log import get_task_logger
from shop_errors import Busy, OutOfStock

logger = get_task_logger(__name__)

SECOND_QUEUE = os.environ["INTEROP_SECOND_QUEUE"]

app = Celery("shop", set_as_current=False)
app.conf.update(
    broker_url="sqs://",
    broker_transport_options={"region": os.environ["AWS_REGION"], "wait_time_seconds": 1, "polling_interval": 0.1},
    broker_connection_retry_on_startup=True,
    result_backend=f"taskq+dynamodb://{os.environ['INTEROP_TABLE']}?key_format=celery",
    result_extended=True,
    task_default_queue=os.environ["INTEROP_QUEUE"],
    task_routes={"shop.routed": {"queue": SECOND_QUEUE}},
    accept_content=["json", "pickle", "yaml"],
    worker_hijack_root_logger=False,
)
JOURNAL = Path(os.environ["INTEROP_JOURNAL"])


def write(*entry: Any) -> None:
    """Add a line to the journal, which the tests read."""
    with JOURNAL.open("a") as journal:
        journal.write(json.dumps(entry) + "\n")


class Counting(Task):
    """A base class with handlers, and with attributes of the project's own."""

    warehouse = "north"
    abstract = True
    _opened = 0

    @property
    def opened(self) -> int:
        if not self._opened:
            self._opened = 1
        return self._opened

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        write("before_start", self.name, task_id, list(args), kwargs)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        write("on_success", self.name, task_id, retval, list(args), kwargs)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        write("on_failure", self.name, task_id, repr(exc), list(args), kwargs, str(einfo).splitlines()[-1])

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        write("on_retry", self.name, task_id, repr(exc), list(args), kwargs)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        write("after_return", self.name, task_id, status, repr(retval), list(args), kwargs)


class Reserve(Counting):
    """A task that is a class."""

    name = "shop.reserve"
    max_retries = 3
    warehouse = "south"

    def run(self, article: str, count: int = 1) -> list[Any]:
        self.opened
        return [self.warehouse, article, count, self._opened, self.request.retries]


reserve = app.register_task(Reserve())


@app.task(name="shop.add", shared=False)
def add(x: Any, y: Any) -> Any:
    return x + y


@app.task(name="shop.mul", shared=False)
def mul(x: Any, y: Any) -> Any:
    return x * y


@app.task(name="shop.total", shared=False)
def total(values: list[Any]) -> Any:
    return sum(values)


@app.task(name="shop.same", shared=False)
def same(value: Any = None) -> Any:
    return value


@app.task(name="shop.echo", shared=False)
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@app.task(name="shop.note", shared=False)
def note(*args: Any, **kwargs: Any) -> list[Any]:
    return ["noted", *args, kwargs]


@app.task(name="shop.told", shared=False)
def told(task_id: str) -> list[Any]:
    """An errback that gets the id of the failed task."""
    return ["told", task_id]


@app.task(name="shop.heard", shared=False)
def heard(request: Any, exc: BaseException, traceback: Any) -> None:
    """An errback that gets the error itself."""
    write("heard", "shop.heard", request.id, repr(exc), request.task, bool(traceback))


@app.task(name="shop.once", bind=True, shared=False)
def once(self: Any, number: int) -> int:
    write("once", self.request.id, number, os.environ.get("INTEROP_WORKER"))
    return number


@app.task(name="shop.sell", base=Counting, bind=True, shared=False, priority=4)
def sell(self: Any, article: str, left: int = 0) -> list[Any]:
    if not left:
        raise OutOfStock(article, left)
    return [self.warehouse, article, self.name, self.request.task, self.opened]


@app.task(name="shop.flaky", base=Counting, bind=True, shared=False, max_retries=3, default_retry_delay=1)
def flaky(self: Any, succeeds_at: int) -> int:
    if self.request.retries < succeeds_at:
        raise self.retry(exc=Busy("not yet"), countdown=0)
    retries: int = self.request.retries
    return retries


@app.task(
    name="shop.auto",
    bind=True,
    shared=False,
    autoretry_for=(Busy,),
    retry_backoff=False,
    max_retries=2,
    default_retry_delay=0,
)
def auto(self: Any, succeeds_at: int) -> int:
    if self.request.retries < succeeds_at:
        raise Busy("not yet")
    retries: int = self.request.retries
    return retries


@app.task(name="shop.fail", shared=False)
def fail(*args: Any) -> None:
    raise ValueError("no", 7)


@app.task(name="shop.unusual", shared=False)
def unusual(kind: str) -> None:
    if kind == "key":
        raise KeyError("article")
    if kind == "own":
        raise OutOfStock("hat", 3)
    if kind == "nested":
        try:
            raise ValueError("inner")
        except ValueError as error:
            raise RuntimeError("outer") from error
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")


@app.task(name="shop.ignored", bind=True, shared=False)
def ignored(self: Any) -> None:
    self.update_state(state="CUSTOM", meta={"seen": True})
    raise Ignore


@app.task(name="shop.rejected", bind=True, shared=False, acks_late=True)
def rejected(self: Any) -> None:
    self.update_state(state="CUSTOM", meta={"seen": True})
    raise Reject("no", requeue=False)


@app.task(name="shop.progress", bind=True, shared=False)
def progress(self: Any, then: Any) -> Any:
    self.update_state(state="PROGRESS", meta={"done": 1})
    return then


@app.task(name="shop.quiet", shared=False, ignore_result=True)
def quiet(key: str) -> str:
    write("quiet", "shop.quiet", key)
    return key


@app.task(name="shop.about", bind=True, shared=False)
def about(self: Any, *args: Any) -> dict[str, Any]:
    """What the running task knows of its call. ``reply_to`` is left out: it is for results that are sent back."""
    request = self.request
    return {
        "id": request.id,
        "args": list(request.args),
        "kwargs": request.kwargs,
        "parent_id": request.parent_id,
        "group": request.group,
        "group_index": request.group_index,
        "retries": request.retries,
        "timelimit": request.timelimit,
        "priority": request.delivery_info["priority"],
        "routing_key": request.delivery_info["routing_key"],
        "correlation_id": request.correlation_id,
        "is_eager": request.is_eager,
        "called_directly": request.called_directly,
        "shadow": request.shadow,
        "argsrepr": request.argsrepr,
        "kwargsrepr": request.kwargsrepr,
        "ignore_result": request.ignore_result,
        "stamped_headers": sorted(request.stamped_headers or ()),
        "stamps": request.stamps,
        "own": (request.headers or {}).get("own"),
        "expires": bool(request.expires),
        "eta": bool(request.eta),
        "name": request.task,
        "links": len(request.callbacks or ()),
        "errbacks": len(request.errbacks or ()),
        "chained": len(request.chain or ()),
        "has_chord": request.chord is not None,
        "root_id": request.root_id,
    }


@app.task(name="shop.routed", bind=True, shared=False)
def routed(self: Any, *args: Any) -> Any:
    return self.request.delivery_info["routing_key"]


@app.task(name="shop.replaced", bind=True, shared=False)
def replaced(self: Any, kind: str, x: int = 1) -> Any:
    """Replaced by a workflow of this kind."""
    if kind == "task":
        return self.replace(add.s(x, 10))
    if kind == "chain":
        return self.replace(chain(add.s(x, 10), mul.s(2)))
    if kind == "group":
        return self.replace(group(add.s(x, each) for each in range(3)))
    return self.replace(chord([add.s(x, each) for each in range(3)], total.s()))


@app.task(name="shop.spawns", bind=True, shared=False)
def spawns(self: Any, x: int) -> Any:
    """Calls other tasks, and returns the id of one of them."""
    return add.delay(x, 1).id


class Tenant(StampingVisitor):
    """Stamps every task with a tenant."""

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"tenant": "acme", "stamped_headers": ["tenant"]}


def changed_in_place(task_id: str, errback_id: str) -> Any:
    """A signature that is changed in place, as Celery's users do."""
    sig = add.s(1)
    sig.args += (2,)
    sig["options"]["priority"] = 7
    sig.set(countdown=0)
    sig.options["headers"] = {"own": "value"}
    sig.link(note.s(word="good").set(task_id=task_id))
    sig.link_error(told.s().set(task_id=errback_id))
    return sig


def by_name(name: str, *args: Any, **options: Any) -> Any:
    return signature(name, args=args, app=app, **options)
