"""What ``taskq migrate`` can find: its codes, with a sentence and a way out for each.

docs/migrating-from-celery.md has the same table; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final


class Severity(StrEnum):
    """How much a finding asks for."""

    MEANING = "meaning"
    """It runs, with a meaning that differs from Celery's."""
    HAND = "hand"
    """It needs a hand before the project runs."""


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding.

    Args:
        severity: how much it asks for.
        sentence: what is so.
        remedy: what to do about it.
    """

    severity: Severity
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that ``taskq migrate`` has found.

    Args:
        file: the file, relative to the project.
        line: the line, counted from 1; 0: the whole file, or the whole project.
        code: a key of ``CODES``.
        subject: what was found, such as ``app.control.rate_limit``.
        detail: more about this case; "": the code's sentence says all.
    """

    file: Path
    line: int
    code: str
    subject: str
    detail: str = ""

    @property
    def severity(self) -> Severity:
        """How much the finding asks for."""
        return CODES[self.code].severity

    @property
    def sentence(self) -> str:
        """What is so, in this case."""
        return self.detail or CODES[self.code].sentence

    def to_document(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return {
            "file": self.file.as_posix(),
            "line": self.line,
            "code": self.code,
            "severity": self.severity.value,
            "subject": self.subject,
            "sentence": self.sentence,
            "remedy": CODES[self.code].remedy,
        }


def _meaning(sentence: str, remedy: str) -> Code:
    return Code(Severity.MEANING, sentence, remedy)


def _hand(sentence: str, remedy: str) -> Code:
    return Code(Severity.HAND, sentence, remedy)


CODES: Final = {
    "M101": _meaning(
        "Messages are acknowledged after the run, as with acks_late=True, so a task whose worker dies runs again.",
        "Make the task safe to run twice, or set acks_late=False on it.",
    ),
    "M102": _meaning(
        "The setting has no effect.",
        "Remove the setting, if you like; it does no harm.",
    ),
    "M103": _meaning(
        "Steps run around the native worker: worker.timer, hostname, app and consumer are there, worker.hub and the "
        "objects of a connection are not.",
        "Look at which attributes of the worker the step uses, and run a worker once.",
    ),
    "M104": _meaning(
        "A scheduler class of your own runs in `celery beat`, in one process, and not in a platform's scheduler.",
        "Keep running `taskq celery beat -S ...`, or declare beat_schedule and use `taskq beat`.",
    ),
    "M105": _meaning(
        "The task is called by its name, and no file here declares it.",
        "Move the project that declares it to the same broker, or declare its queue in task_routes.",
    ),
    "M106": _meaning(
        "Workers send no events yet, so no monitor receives any.",
        "Use the log, `taskq queues` and `taskq result --tree`; remove what listens to events.",
    ),
    "M107": _meaning(
        "A revoked task that already runs goes on, and its result is dropped; every worker sees the revocation.",
        "Set a time_limit on tasks that must be ended.",
    ),
    "M109": _meaning(
        "Brokers raise the errors of taskq_cloud, which are not kombu's.",
        "Import the error from taskq_cloud.celery.exceptions, as --write does.",
    ),
    "M110": _meaning(
        "The argument of the decorator has the name of a native option, and is that option if its value has the "
        "option's type.",
        "Rename the argument, or give the task's base class an attribute of this name: then it stays your own.",
    ),
    "M111": _meaning(
        "The broker or the result backend is supported, and differs in a point from what Celery makes of it.",
        "Read the page that the finding names before you deploy.",
    ),
    "M201": _hand(
        "taskq_cloud.celery doesn't have this name.",
        "Find what the code needs it for, and replace it by a public name of taskq_cloud.celery or of taskq_cloud.",
    ),
    "M202": _hand(
        "The package imports Celery itself, so it doesn't see tasks of taskq_cloud.celery.",
        "Replace it by what the finding names, or call taskq_cloud.celery.alias.install() before it is imported.",
    ),
    "M203": _hand(
        "Objects of kombu other than Queue, Exchange and binding need a channel of kombu, which no broker here has.",
        "Send with a task, and receive with a task of task_event_routes; or keep kombu for this part alone.",
    ),
    "M204": _hand(
        "The package comes with Celery, and taskq_cloud doesn't install it.",
        "Use multiprocessing for billiard; remove imports of vine and amqp.",
    ),
    "M205": _hand(
        "The broker or the result backend is not supported.",
        "Correct the URL as the finding says, or choose a broker and a store of docs/celery-settings.md.",
    ),
    "M206": _hand(
        "The command line runs Celery's program, which isn't taskq_cloud's.",
        "Write `taskq celery` for `celery`; the options stay.",
    ),
    "M207": _hand(
        "The project's requirements have Celery and not taskq-cloud.",
        "Require taskq-cloud with the extras of your broker and your result store, such as taskq-cloud[aws].",
    ),
    "M208": _hand(
        "A ConsumerStep consumes with kombu, which needs a channel of kombu.",
        "Let a task handle the messages (task_event_routes), or read them in a process of your own.",
    ),
    "M209": _hand(
        "The native pipeline handles messages, so a class of requests or a strategy of your own has no effect.",
        "Use signals, the task's own methods (on_failure, on_success, on_retry) or hooks.",
    ),
    "M210": _hand(
        "Workers can't be asked or told anything yet; revoke and purge work.",
        "Change settings and deploy; `taskq queues`, `taskq result` and /healthz of a worker show what happens.",
    ),
    "M211": _hand(
        "The standard library is patched for gevent or eventlet, which a worker's own process can't be.",
        "Remove the call from modules that a worker imports: -P gevent patches the process of the tasks by itself.",
    ),
    "M212": _hand(
        "A running task can't be ended from outside: revoke(terminate=True) raises an error.",
        "Set a time_limit on the task, and call revoke without terminate.",
    ),
    "M213": _hand(
        "The value of the setting is refused, because it would lose messages or results.",
        "Change the setting as the finding says.",
    ),
    "M214": _hand(
        "A result backend of your own isn't used: results are kept by taskq_cloud's stores.",
        "Choose a store of docs/results.md, or write one (docs/adapters.md).",
    ),
    "M215": _hand(
        "The file can't be read as Python of this version.",
        "Correct the file; nothing in it was looked at.",
    ),
    "M216": _hand(
        "The application can't be imported or configured with taskq_cloud.celery in the place of celery.",
        "Correct what the error says, and run `taskq migrate` again.",
    ),
    "M217": _hand(
        "A broadcast queue is not supported: a message goes to one queue, and one worker runs it.",
        "Send one message to a queue of each receiver.",
    ),
}
"""Code -> what is so, and what to do."""
