"""Fixtures for pytest, with the names and defaults of Celery's plugin.

A test suite uses them with ``pytest_plugins = ("taskq_cloud.celery.contrib.pytest",)``.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

#: Set in the environment: no worker is started.
NO_WORKER = os.environ.get("NO_WORKER")


def pytest_configure(config: Any) -> None:
    """Declare the mark ``celery``."""
    config.addinivalue_line("markers", "celery(**overrides): override celery configuration for a test case")


@contextmanager
def _create_app(
    enable_logging: bool = False, use_trap: bool = False, parameters: Any = None, **config: Any
) -> Iterator[Any]:
    from .testing.app import TestApp, setup_default_app

    app = TestApp(set_as_current=False, enable_logging=enable_logging, config=config, **(parameters or {}))
    with setup_default_app(app, use_trap=use_trap):
        yield app


@contextmanager
def _create_worker(app: Any, includes: Any, class_tasks: Any, pool: Any, parameters: Any) -> Iterator[Any]:
    from .testing import worker

    for module in includes:
        app.loader.import_task_module(module)
    for task in class_tasks:
        app.register_task(task)
    with worker.start_worker(app, pool=pool, **parameters) as started:
        yield started


def _settings(request: Any, celery_config: Mapping[str, Any]) -> dict[str, Any]:
    mark = request.node.get_closest_marker("celery")
    return {**celery_config, **(mark.kwargs if mark else {})}


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """Override: True lets every use of the current or the default application fail."""
    return False


@pytest.fixture(scope="session")
def celery_session_app(
    request: Any,
    celery_config: Any,
    celery_parameters: Any,
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Any]:
    """The application of all tests of a session."""
    with _create_app(
        enable_logging=celery_enable_logging,
        use_trap=use_celery_app_trap,
        parameters=celery_parameters,
        **_settings(request, celery_config),
    ) as app:
        if not use_celery_app_trap:
            app.set_default()
            app.set_current()
        yield app


@pytest.fixture(scope="session")
def celery_session_worker(
    request: Any,
    celery_session_app: Any,
    celery_includes: Any,
    celery_class_tasks: Any,
    celery_worker_pool: Any,
    celery_worker_parameters: Any,
) -> Iterator[Any]:
    """The worker of all tests of a session."""
    if NO_WORKER:
        return
    with _create_worker(
        celery_session_app, celery_includes, celery_class_tasks, celery_worker_pool, celery_worker_parameters
    ) as started:
        yield started


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Override: True lets the application of a test set up loggers."""
    return False


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Override: the modules that are imported before a worker starts."""
    return ()


@pytest.fixture(scope="session")
def celery_worker_pool() -> Any:
    """Override: the pool of the workers."""
    return "solo"


@pytest.fixture(scope="session")
def celery_config() -> Mapping[str, Any]:
    """Override: the settings of the application of a test."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> Mapping[str, Any]:
    """Override: arguments with which the application of a test is made."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    """Override: arguments with which a worker is made, such as its queues."""
    return {}


@pytest.fixture
def celery_app(
    request: Any,
    celery_config: Any,
    celery_parameters: Any,
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Any]:
    """The application of one test."""
    with _create_app(
        enable_logging=celery_enable_logging,
        use_trap=use_celery_app_trap,
        parameters=celery_parameters,
        **_settings(request, celery_config),
    ) as app:
        yield app


@pytest.fixture(scope="session")
def celery_class_tasks() -> list[Any]:
    """Override: tasks that are classes, and registered with the session's application before its worker starts."""
    return []


@pytest.fixture
def celery_worker(
    request: Any, celery_app: Any, celery_includes: Any, celery_worker_pool: Any, celery_worker_parameters: Any
) -> Iterator[Any]:
    """The worker of one test, which is stopped when the test ends."""
    if NO_WORKER:
        return
    with _create_worker(celery_app, celery_includes, (), celery_worker_pool, celery_worker_parameters) as started:
        yield started


@pytest.fixture
def depends_on_current_app(celery_app: Any) -> None:
    """Make the application of a test the current one."""
    celery_app.set_current()
