import pytest

from taskq_cloud import TaskQ


@pytest.fixture
def app() -> TaskQ:
    return TaskQ("tests", broker="memory://", results="memory://", visibility_timeout=1)
