"""The change of imports: what is written, and what stays as it is."""

from __future__ import annotations

import ast

import pytest

from taskq_cloud.cli.migrate.rewrite import Source, rewritten

CASES = {
    "import celery\n": "from taskq_cloud import celery\n",
    "import celery as c  # why\n": "from taskq_cloud import celery as c  # why\n",
    "import celery.signals\n": "import taskq_cloud.celery.signals\nfrom taskq_cloud import celery\n",
    "import celery.app as a\n": "import taskq_cloud.celery.app as a\n",
    "import os, celery, sys as s\n": "import os, sys as s\nfrom taskq_cloud import celery\n",
    "import celery, celery.states\n": "from taskq_cloud import celery\nimport taskq_cloud.celery.states\n",
    "if x: import celery.signals\n": "if x: import taskq_cloud.celery.signals; from taskq_cloud import celery\n",
    "import celery.states; y = 1\n": "import taskq_cloud.celery.states; from taskq_cloud import celery; y = 1\n",
    "def f():\n\timport celery.states\n": (
        "def f():\n\timport taskq_cloud.celery.states\n\tfrom taskq_cloud import celery\n"
    ),
    "import celery.states\r\ny = 1\r\n": (
        "import taskq_cloud.celery.states\r\nfrom taskq_cloud import celery\r\ny = 1\r\n"
    ),
    "from celery import Celery\n": "from taskq_cloud.celery import Celery\n",
    "from celery.app.task import (\n    Task,  # celery\n)\n": (
        "from taskq_cloud.celery.app.task import (\n    Task,  # celery\n)\n"
    ),
    "from  \\\n  celery  import chain\n": "from  \\\n  taskq_cloud.celery  import chain\n",
    "from celery import *\n": "from taskq_cloud.celery import *\n",
    "é = 'π'; from celery import group\n": "é = 'π'; from taskq_cloud.celery import group\n",
    "\ufefffrom celery import group\n": "\ufefffrom taskq_cloud.celery import group\n",
    "from kombu.exceptions import OperationalError\n": "from taskq_cloud.celery.exceptions import OperationalError\n",
    "from kombu.exceptions import (\n    EncodeError as E,  # sent\n    DecodeError,\n)\n": (
        "from taskq_cloud.celery.exceptions import (\n    EncodeError as E,  # sent\n    DecodeError,\n)\n"
    ),
    "def f():\n    from kombu.exceptions import HttpError as H, OperationalError\n": (
        "def f():\n    from kombu.exceptions import HttpError as H\n"
        "    from taskq_cloud.celery.exceptions import OperationalError\n"
    ),
    "x = 'celery.app.task:Task'\n": "x = 'taskq_cloud.celery.app.task:Task'\n",
    "patch('celery.app.task.Task.apply_async')\n": "patch('taskq_cloud.celery.app.task.Task.apply_async')\n",
    "x = 'π', r\"celery.loaders.app.AppLoader\"\n": "x = 'π', r\"taskq_cloud.celery.loaders.app.AppLoader\"\n",
    "pytest_plugins = ('celery.contrib.pytest',)\n": "pytest_plugins = ('taskq_cloud.celery.contrib.pytest',)\n",
    "Celery(include=['celery.states'])\n": "Celery(include=['taskq_cloud.celery.states'])\n",
}

STAYS = [
    "from .celery import app\n",
    "from shop.celery import app\n",
    "from celery_once import QueueOnce\n",
    "import celeryconfig\n",
    "from kombu import Queue\n",
    "from kombu.exceptions import HttpError\n",
    "from kombu.exceptions import *\n",
    "getLogger('celery.beat')\n",
    "LOGGERS = {'celery.worker': 1, 'celery.task': 2}\n",
    "send_task('celery.backend_cleanup')\n",
    "x = 'celery.chord'\n",
    "x = 'see celery.app.task:Task there'\n",
    "x = 'cel' 'ery.app.task:Task'\n",
    "x = 'celery\\x2eapp.task:Task'\n",
    "namespace = 'CELERY'\n",
    "# import celery\n",
    '"""import celery"""\n',
    "from taskq_cloud.celery import Celery\n",
]


@pytest.mark.parametrize("before", CASES)
def test_imports_and_names_are_changed(before: str) -> None:
    assert rewritten(Source(before.encode())).decode() == CASES[before]


@pytest.mark.parametrize("text", STAYS)
def test_everything_else_stays(text: str) -> None:
    assert rewritten(Source(text.encode())) == text.encode()


@pytest.mark.parametrize("before", CASES)
def test_change_of_what_was_changed_changes_nothing(before: str) -> None:
    once = rewritten(Source(before.encode()))
    assert rewritten(Source(once)) == once
    ast.parse(once)
