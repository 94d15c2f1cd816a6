"""The packages on which the documentation's constructs run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.celery.documentation.sides import Side


@pytest.fixture(params=[pytest.param("celery", marks=pytest.mark.slow), "taskq_cloud.celery"], ids=["celery", "ours"])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    """Each of the two packages."""
    yield from _side(request.param)


@pytest.fixture
def ours() -> Iterator[Side]:
    """This package alone, for an example that Celery can't run here."""
    yield from _side("taskq_cloud.celery")


def _side(package: str) -> Iterator[Side]:
    side = Side(package)
    yield side
    side.close()
