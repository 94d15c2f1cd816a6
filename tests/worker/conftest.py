from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq_cloud import TaskQ


@pytest.fixture
def app() -> TaskQ:
    return TaskQ("tests", broker="memory://", results="memory://", visibility_timeout=1)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the module ``shop``, whose source is the test module's ``APP``."""
    (tmp_path / "shop.py").write_text(request.module.APP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def caller(folder: Path) -> Iterator[TaskQ]:
    """The caller's application, on the same SQLite files as ``shop``, without configuration."""
    made = TaskQ("caller")
    yield made
    made.close()
