"""The topics of Celery's folder ``examples``: a tutorial, a result graph, stamps, security, threads, a gateway."""

from __future__ import annotations

import json
import threading
from collections import deque
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kombu.serialization import registry

from tests.celery.documentation.sides import Side, get


def test_application_with_one_task(side: Side) -> None:
    """Its topics: ``app``, ``tutorial`` and ``next-steps``."""
    app = side.app("myapp", include=["math"])

    @app.task()
    def double(x: int) -> int:
        return 2 * x

    with side.worker(app):
        assert get(double.delay(16)) == 32


def test_periodic_entry_of_a_program(side: Side) -> None:
    """Its topic: ``periodic-tasks``."""
    app = side.app("myapp")
    app.conf.timezone = "UTC"

    @app.task
    def say(what: str) -> str:
        return what

    @app.on_after_configure.connect
    def setup_periodic_tasks(sender: Any, **kwargs: Any) -> None:
        sender.add_periodic_task(10.0, say.s("hello"), name="say every 10")

    scheduler = side.module("beat").Scheduler(app)
    entry = scheduler.schedule["say every 10"]
    with side.worker(app):
        assert get(scheduler.apply_async(entry, advance=False)) == "hello"


def test_graph_of_results_is_collected(side: Side) -> None:
    """Its topic: ``resultgraph``. A task returns the result of a group of chords, which is followed to its leaves."""
    app = side.app("graph")

    @app.task(name="graph.fetch")
    def fetch(batch: str, url: str) -> str:
        return f"{batch}:{url}"

    @app.task(name="graph.batch_done")
    def batch_done(urls: list[str], batch: str) -> list[str]:
        return [batch, *urls]

    @app.task(name="graph.batch")
    def batch(name: str) -> Any:
        return side.chord(fetch.s(name, str(n)) for n in range(2))(batch_done.s(name))

    @app.task(name="graph.all")
    def everything() -> Any:
        return side.group(batch.s(name) for name in "AB").apply_async()

    results = side.module("result")

    def revived(value: Any) -> Any:
        """A result that a task has returned is a tuple in JSON."""
        return results.result_from_tuple(value, app=app) if isinstance(value[0], list) else value

    with side.worker(app):
        found, stack = [], deque([everything.delay()])
        while stack:
            value = stack.popleft()
            if isinstance(value, results.ResultSet):
                stack.extend(revived(each) for each in value.join(timeout=20, interval=0.02))
            elif isinstance(value, results.AsyncResult):
                stack.append(revived(get(value)))
            else:
                found.append(value)
    assert sorted(found) == [["A", "A:0", "A:1"], ["B", "B:0", "B:1"]]


# -- stamping


def stamping_app(side: Side) -> tuple[Any, list[dict[str, Any]]]:
    """An application whose task ``note`` tells its stamps."""
    app, told = side.app("stamps"), []

    @app.task(name="stamps.note", bind=True)
    def note(self: Any, value: Any = None) -> Any:
        told.append({"value": value, **dict(self.request.stamps or {})})
        return value

    app.note = note
    return app, told


def monitoring(side: Side) -> Any:
    """A visitor that gives each task an id."""
    visitor: Any = side.module("canvas").StampingVisitor

    class MonitoringId(visitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"monitoring_id": uuid4().hex}

    return MonitoringId()


def test_each_task_of_a_workflow_has_a_stamp_of_its_own(side: Side) -> None:
    app, told = stamping_app(side)
    chains = [side.chain(app.note.si(f"{n}1"), app.note.si(f"{n}2")) for n in range(2)]
    for each in chains:
        each.link(app.note.si("linked"))
    workflow = side.group(chains)
    workflow.stamp(monitoring(side))
    with side.worker(app, concurrency=1):
        assert get(workflow.delay()) == ["02", "12"]
        get(app.note.delay("last"))
        get(app.note.delay("last"))
    ids = [each["monitoring_id"] for each in told if each["value"] not in {"last", "linked"}]
    assert len({json.dumps(each) for each in ids}) == 4


def test_replaced_task_can_stamp_its_replacement(side: Side) -> None:
    app, told = stamping_app(side)

    class Stamps(side.Task):  # type: ignore[name-defined]
        def on_replace(self, sig: Any) -> Any:
            sig.stamp(monitoring(side))
            return super().on_replace(sig)

    @app.task(name="stamps.replaced", bind=True, base=Stamps)
    def replaced(self: Any) -> None:
        self.replace(app.note.s("instead"))

    with side.worker(app):
        assert get(replaced.delay()) == "instead"
    assert set(told[0]) == {"value", "monitoring_id"}


def test_stamps_can_be_joined(side: Side) -> None:
    app, told = stamping_app(side)
    signature = app.note.si("twice")
    signature.stamp(monitoring(side))
    signature.stamp(tenant="blue")
    with side.worker(app):
        get(signature.delay())
    assert set(told[0]) == {"value", "monitoring_id", "tenant"}


# -- security, models, threads, gateway


def test_messages_are_signed(side: Side, tmp_path: Path) -> None:
    """Its topic: ``security``."""
    certificate(tmp_path)
    app = side.app("secure")
    app.conf.update(
        security_key=str(tmp_path / "worker.key"),
        security_certificate=str(tmp_path / "worker.pem"),
        security_cert_store=str(tmp_path / "*.pem"),
        task_serializer="auth",
        event_serializer="auth",
        accept_content=["auth"],
        result_accept_content=["json"],
    )
    disabled = set(registry._disabled_content_types)
    app.setup_security()

    @app.task(name="secure.boom")
    def boom() -> str:
        return "I am a signed message"

    try:
        with side.worker(app):
            assert get(boom.delay()) == "I am a signed message"
    finally:  # in Celery, the application has disabled other serializers in the whole process
        registry._disabled_content_types.clear()
        registry._disabled_content_types.update(disabled)


def certificate(folder: Path) -> None:
    """Write a private key and a certificate that it signs itself."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "worker")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding, no_encryption = serialization.Encoding.PEM, serialization.NoEncryption()
    form = serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "worker.key").write_bytes(key.private_bytes(encoding, form, no_encryption))
    (folder / "worker.pem").write_bytes(made.public_bytes(encoding))


def test_many_calls_are_made_by_threads(side: Side) -> None:
    """Its topics: ``eventlet`` and ``gevent``, with threads for green threads."""
    app = side.app("crawler")

    @app.task(name="crawler.crawl", compression="zlib")
    def crawl(url: str) -> int:
        return len(url)

    results: list[Any] = []
    lock = threading.Lock()

    def call(number: int) -> None:
        result = crawl.delay("x" * number)
        with lock:
            results.append((number, result))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    with side.worker(app, pool="threads", concurrency=4):
        assert all(get(result) == number for number, result in results)
    assert len(results) == 8


def test_crawler_sends_further_calls_from_a_task(side: Side) -> None:
    pages = {"/": ["/a", "/b"], "/a": ["/c"], "/b": [], "/c": []}
    app, seen = side.app("crawler"), []
    done = threading.Event()

    @app.task(name="crawler.follow", ignore_result=True)
    def follow(url: str) -> None:
        seen.append(url)
        if len(seen) == len(pages):
            done.set()
        if pages[url]:
            side.group(follow.s(link) for link in pages[url]).delay()

    with side.worker(app):
        follow.delay("/")
        assert done.wait(20)
    assert sorted(seen) == sorted(pages)


def test_gateway_calls_tasks_and_tells_their_states(side: Side) -> None:
    """Its topic: ``celery_http_gateway``: names, arguments and ids come as text, and JSON goes back."""
    app = side.app("gateway")

    @app.task(name="gateway.hello")
    def hello(to: str = "world") -> str:
        return f"Hello {to}"

    def apply(name: str, arguments: str) -> str:
        result = app.tasks[name].apply_async(kwargs=json.loads(arguments))
        return json.dumps({"ok": True, "task_id": result.task_id})

    def status(task_id: str) -> str:
        result = app.AsyncResult(task_id)
        return json.dumps({"task": {"id": task_id, "status": result.state, "result": result.result}})

    with side.worker(app):
        task_id = json.loads(apply("gateway.hello", '{"to": "Ada"}'))["task_id"]
        get(app.AsyncResult(task_id))
    assert json.loads(status(task_id))["task"] == {"id": task_id, "status": "SUCCESS", "result": "Hello Ada"}
    assert json.loads(status("unknown"))["task"]["status"] == "PENDING"


def test_delayed_tasks_run_when_they_are_due(side: Side) -> None:
    """Its topic: ``eta_poc``."""
    app = side.app("eta")

    @app.task(name="eta.add", acks_late=True)
    def add(x: int, y: int) -> int:
        return x + y

    with side.worker(app, concurrency=1):
        delayed = [add.s(1, n).apply_async(countdown=0.3, task_id=f"eta-{n}") for n in range(3)]
        assert get(add.delay(0, 0)) == 0
        assert [get(each) for each in delayed] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_type_of_queues_is_accepted(side: Side, kind: str) -> None:
    """Its topic: ``quorum-queues``."""
    app = side.app("quorum")
    app.conf.task_default_queue_type = kind
    queues = app.amqp.queues
    types = [(queues[name].queue_arguments or {}).get("x-queue-type", "classic") for name in queues]
    assert types == [kind]
