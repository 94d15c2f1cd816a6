"""A program that calls tasks of both kinds, and workflows of them. It writes their values to stdout, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import celery
import kept
import moved
import moving_apps

from taskq_cloud import celery as taskq


def value(result: Any) -> Any:
    return result.get(timeout=30, interval=0.05)


def called_within(result: Any, app: Any) -> list[Any]:
    side, task_id = value(result)
    return [side, value(app.AsyncResult(task_id))]


started = {
    "kept": kept.add.delay(1, 2),
    "moved": moved.mul.delay(2, 3),
    "by Celery's application": moving_apps.old.send_task("moved.mul", (3, 4)),
    "by our application": moving_apps.new.send_task("kept.add", (3, 4)),
    "Celery's signature of a moved task": celery.signature("moved.mul", args=(3, 5)).delay(),
    "our signature of a kept task": taskq.signature("kept.add", args=(3, 5)).delay(),
    "Celery's chain": celery.chain(kept.add.s(1, 2), moved.mul.s(10), kept.add.s(1)).delay(),
    "our chain": taskq.chain(moved.mul.s(2, 3), kept.add.s(1), moved.mul.s(2)).delay(),
    "Celery's chain with |": (kept.add.s(1, 2) | moved.mul.s(10) | kept.add.s(1) | moved.mul.s(2)).delay(),
    "our chain with |": (moved.mul.s(2, 3) | kept.add.s(1) | moved.mul.s(2) | kept.add.s(1)).delay(),
    "Celery's chain with our group": (
        kept.add.s(1, 2) | taskq.group(moved.mul.s(2), kept.add.s(1)) | kept.total.s()
    ).delay(),
    "our chain with Celery's group": (
        moved.mul.s(1, 2) | celery.group(moved.mul.s(2), kept.add.s(1)) | moved.total.s()
    ).delay(),
    "Celery's group": celery.group(kept.add.s(1, 2), moved.mul.s(2, 3)).delay(),
    "our group": taskq.group(moved.mul.s(2, 3), kept.add.s(1, 2)).delay(),
    "Celery's chord": celery.chord([kept.add.s(1, 1), moved.mul.s(2, 3)], moved.total.s()).delay(),
    "our chord": taskq.chord([moved.mul.s(2, 3), kept.add.s(1, 1)], kept.total.s()).delay(),
    "Celery's link": kept.add.apply_async((1, 2), link=moved.mul.s(2)),
    "our link": moved.mul.apply_async((1, 2), link=kept.add.s(2)),
}
within = {"a moved task": kept.calls_moved.delay(3), "a kept task": moved.calls_kept.delay(3)}

values = {name: value(result) for name, result in started.items()}
values |= {name: called_within(result, moving_apps.new) for name, result in within.items()}
values["tasks"] = [sorted({"kept.add", "moved.mul"} & set(app.tasks)) for app in (moving_apps.old, moving_apps.new)]
sys.stdout.write(json.dumps(values) + "\n")
