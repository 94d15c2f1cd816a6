"""The errors of brokers and of serializers, which Celery's users import from kombu."""

from __future__ import annotations

from pathlib import Path

import kombu.exceptions
import pytest

from taskq_cloud import errors
from taskq_cloud.celery import Celery, exceptions


@pytest.mark.parametrize("name", ["OperationalError", "EncodeError", "DecodeError"])
def test_errors_of_kombu_have_their_names_here(name: str) -> None:
    assert hasattr(kombu.exceptions, name)
    assert name in exceptions.__all__
    assert getattr(exceptions, name) is getattr(errors, name)


def test_broker_that_cannot_be_used_raises_operational_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = Celery("shop", broker=f"sqlite:///{tmp_path}/file/broker.db", set_as_current=False)
    with pytest.raises(exceptions.OperationalError):
        app.send_task("add")
    app.close()


def test_arguments_that_cannot_be_serialized_raise_encode_error() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    with pytest.raises(exceptions.EncodeError):
        app.send_task("add", (object(),))
    app.close()
