"""The fixtures for pytest: one suite runs with Celery's plugin and with ours, and passes with both."""

import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest
from {package} import Celery, current_app, shared_task
from {package}.contrib.testing.worker import TestWorkController


@pytest.fixture(scope="session")
def celery_config():
    return {{"task_default_queue": "of-session", "result_expires": 60}}


@pytest.fixture(scope="session")
def celery_parameters():
    return {{"strict_typing": False}}


@pytest.fixture(scope="session")
def celery_worker_parameters():
    return {{"queues": ("of-session", "other"), "shutdown_timeout": 20}}


@pytest.fixture(scope="session")
def celery_includes():
    return ["included"]


@shared_task(name="suite.mul")
def mul(x, y):
    return x * y


def test_application_has_settings(celery_app):
    assert isinstance(celery_app, Celery)
    assert celery_app.conf.task_default_queue == "of-session"
    assert celery_app.conf.result_expires == 60
    assert celery_app.conf.broker_url == "memory://"
    assert celery_app.conf.accept_content == {{"json"}}
    assert celery_app.strict_typing is False
    assert celery_app.main == "celery.tests"


@pytest.mark.celery(task_default_queue="of-mark", timezone="Europe/Berlin")
def test_mark_changes_settings(celery_app):
    assert (celery_app.conf.task_default_queue, celery_app.conf.timezone) == ("of-mark", "Europe/Berlin")
    assert celery_app.conf.result_expires == 60


def test_application_is_new_and_not_current(celery_app):
    assert celery_app.conf.timezone == "UTC"
    assert current_app._get_current_object() is not celery_app


@pytest.mark.usefixtures("depends_on_current_app")
def test_application_is_current_if_needed(celery_app):
    assert current_app._get_current_object() is celery_app


def test_worker_runs_tasks(celery_app, celery_worker):
    @celery_app.task
    def add(x, y):
        return x + y

    assert isinstance(celery_worker, TestWorkController)
    assert mul.delay(3, 4).get(timeout=10) == 12
    assert mul.apply_async((3, 5), queue="other").get(timeout=10) == 15
    assert "included.task" in celery_app.tasks


def test_error_of_task_is_raised(celery_app, celery_worker):
    with pytest.raises(TypeError):
        mul.delay(3, None).get(timeout=10)


def test_worker_of_session_runs_tasks(celery_session_app, celery_session_worker):
    assert mul.delay(2, 2).get(timeout=10) == 4
    assert current_app._get_current_object() is celery_session_app
"""
TRAPPED = """
import pytest
from {package} import current_app


@pytest.fixture(scope="session")
def use_celery_app_trap():
    return True


def test_current_application_is_a_trap(celery_app):
    assert celery_app.conf.timezone == "UTC"
    with pytest.raises(RuntimeError, match="Test depends on current_app"):
        current_app.conf
"""
INCLUDED = """
from {package} import shared_task


@shared_task(name="included.task")
def task():
    pass
"""


@pytest.mark.parametrize(
    ("package", "suite", "passed"),
    [
        # The workers of Celery's fixtures take seconds to end.
        pytest.param("celery", SUITE, 7, marks=pytest.mark.slow, id="suite-celery"),
        pytest.param("celery", TRAPPED, 1, id="trap-celery"),
        pytest.param("taskq_cloud.celery", SUITE, 7, id="suite-ours"),
        pytest.param("taskq_cloud.celery", TRAPPED, 1, id="trap-ours"),
    ],
)
def test_suite_passes_with_plugin(package: str, suite: str, passed: int, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(f'pytest_plugins = ("{package}.contrib.pytest",)\n')
    (tmp_path / "included.py").write_text(INCLUDED.format(package=package))
    (tmp_path / "test_suite.py").write_text(suite.format(package=package))
    options = ["-q", "-p", "no:cacheprovider", "--strict-markers", "-W", "error"]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_suite.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{root}:{tmp_path}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert f"{passed} passed" in done.stdout, done.stdout + done.stderr
