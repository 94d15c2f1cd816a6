"""Integrations that import Celery find this package under its name."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

TRACED = """
import json
from taskq_cloud.celery import alias
alias.install()

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument(skip_dep_check=True)

from celery import Celery
from celery.contrib.testing.worker import start_worker

app = Celery("traced", broker="memory://", backend="cache+memory://")


@app.task
def add(x, y):
    return x + y


@app.task
def fail():
    raise ValueError("no such user")


with start_worker(app, perform_ping_check=False):
    add.delay(1, 2).get(timeout=20)
    fail.delay().get(timeout=20, propagate=False)

print(json.dumps([
    {
        "name": span.name,
        "kind": span.kind.name,
        "trace": span.context.trace_id,
        "parent": span.parent and span.parent.span_id,
        "span": span.context.span_id,
        "status": span.status.status_code.name,
        "state": span.attributes.get("celery.state"),
    }
    for span in spans.get_finished_spans()
]))
"""


def run(code: str) -> Any:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_module_is_same_under_both_names() -> None:
    code = (
        "import json, taskq_cloud.celery as ours; from taskq_cloud.celery import alias; alias.install();"
        "import celery, celery.app.task, celery.signals; from celery.result import AsyncResult;"
        "import taskq_cloud.celery.signals as signals, taskq_cloud.celery.result as result;"
        "print(json.dumps([celery is ours, celery.signals is signals, AsyncResult is result.AsyncResult,"
        "celery.signals.__spec__.name]))"
    )
    assert run(code) == [True, True, True, "taskq_cloud.celery.signals"]


def test_alias_after_import_of_celery_is_refused() -> None:
    code = (
        "import json, celery; from taskq_cloud.celery import alias, exceptions\n"
        "try: alias.install()\n"
        "except exceptions.ImproperlyConfigured as error: print(json.dumps(str(error)))"
    )
    assert "before anything imports celery" in run(code)


def test_opentelemetry_traces_calls_and_runs() -> None:
    spans = {(span["name"], span["kind"]): span for span in run(TRACED)}

    sent, ran = spans["apply_async/traced.add", "PRODUCER"], spans["run/traced.add", "CONSUMER"]
    assert (ran["trace"], ran["parent"]) == (sent["trace"], sent["span"])
    assert ran["state"] == "SUCCESS"
    assert spans["run/traced.fail", "CONSUMER"]["status"] == "ERROR"
