"""Where ``-A`` finds an application: a native one, and an application of ``taskq_cloud.celery`` by Celery's rules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.celery import _state
from taskq_cloud.errors import ImproperlyConfigured

_numbers = count()
MAKE = "from taskq_cloud.celery import Celery\n{0} = Celery('{0}', set_as_current=False)\n"
NATIVE = "from taskq_cloud import TaskQ\n{0} = TaskQ('{0}')\n"

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a package with these modules, and return its name, which differs for each test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(_state, "default_app", None, raising=False)

    def write(init: str = "", **modules: str) -> str:
        name = f"found{next(_numbers)}"
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(init)
        for module, text in modules.items():
            (tmp_path / name / f"{module}.py").write_text(text)
        return name

    return write


@pytest.mark.parametrize(
    ("init", "modules", "path", "main"),
    [
        (MAKE.format("app"), {}, "{}", "app"),
        (MAKE.format("celery"), {}, "{}", "celery"),
        (MAKE.format("other"), {}, "{}", "other"),
        (MAKE.format("first") + MAKE.format("second"), {}, "{}", "first"),
        (MAKE.format("first") + MAKE.format("app"), {}, "{}", "app"),
        ("", {"celery": MAKE.format("app")}, "{}", "app"),
        ("", {"celery": MAKE.format("main_app")}, "{}", "main_app"),
        ("", {"celery": MAKE.format("app")}, "{}.celery", "app"),
        ("", {"celery": MAKE.format("x") + MAKE.format("y")}, "{}.celery:y", "y"),
        (MAKE.format("mine"), {}, "{}.mine", "mine"),
        (MAKE.format("mine"), {}, "{}:mine", "mine"),
        (NATIVE.format("queue"), {"celery": "import no_such_module"}, "{}", "queue"),
        (NATIVE.format("app") + MAKE.format("celery"), {}, "{}", "app"),
        ("from taskq_cloud.celery import current_app\n" + MAKE.format("mine"), {}, "{}", "mine"),
    ],
)
def test_application_is_found(write: Write, init: str, modules: dict[str, str], path: str, main: str) -> None:
    app = find_app(path.format(write(init, **modules)))
    assert isinstance(app, TaskQ)
    assert app.main == main


@pytest.mark.parametrize(
    ("init", "path", "text"),
    [
        ("", "{}", "neither an `app` nor exactly one TaskQ application"),
        (NATIVE.format("a") + NATIVE.format("b"), "{}", "found: a, b"),
        (NATIVE.format("a") + MAKE.format("b"), "{}", "found: a, b"),
        ("mine = 1", "{}:mine", "mine is 1, not a TaskQ application"),
        ("mine = 1", "{}.mine", "no module"),
        ("", "{}.other.more", "no module"),
    ],
)
def test_missing_application_is_an_error_that_says_what_there_is(write: Write, init: str, path: str, text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text):
        find_app(path.format(write(init)))


def test_task_modules_of_a_celery_application_are_imported(write: Write) -> None:
    name = write("", celery="")
    package = Path(name)
    (package / "celery.py").write_text(
        f"from taskq_cloud.celery import Celery\napp = Celery('x', set_as_current=False, include=['{name}.tasks'])\n"
    )
    (package / "tasks.py").write_text(
        f"from {name}.celery import app\n@app.task(name='add', shared=False)\ndef add(): ...\n"
    )
    assert "add" in find_app(name).tasks
