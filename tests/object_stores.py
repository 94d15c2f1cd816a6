"""A pytest plugin, named in conftest.py, with object stores for the tests that ask for one.

The local AWS stack serves S3. Azurite and fake-gcs-server start once for a run, like the stack. With pytest-xdist the
controller starts them, and does not wait for them because most runs of a few tests need neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from emulators import aws, object_stores
from emulators.process import Emulator, wait_until_it_answers

_AZURITE_VARIABLE = "TASKQ_TEST_AZURITE"
_GCS_VARIABLE = "TASKQ_TEST_GCS"
_STARTED = pytest.StashKey[list[Emulator]]()

_EMULATORS = {
    _AZURITE_VARIABLE: ("Azurite", object_stores.azurite_missing, object_stores.azurite),
    _GCS_VARIABLE: ("fake-gcs-server", object_stores.gcs_server_missing, object_stores.gcs_server),
}


def pytest_configure(config: pytest.Config) -> None:
    distributes = not hasattr(config, "workerinput") and config.getoption("numprocesses", None)
    config.stash[_STARTED] = []
    if not distributes or config.getoption("collectonly"):
        return
    for variable, (_, missing, make) in _EMULATORS.items():
        if variable not in os.environ and missing() is None:
            emulator = make()
            emulator.launch()
            config.stash[_STARTED].append(emulator)
            os.environ[variable] = emulator.url


def pytest_unconfigure(config: pytest.Config) -> None:
    for emulator in config.stash.get(_STARTED, []):
        emulator.stop()


def _address(variable: str) -> Iterator[str]:
    name, missing, make = _EMULATORS[variable]
    given = os.environ.get(variable)
    if given:
        wait_until_it_answers(given, name)
        yield given
        return
    reason = missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with make() as emulator:
        yield emulator.url


@pytest.fixture(scope="session")
def azurite_url() -> Iterator[str]:
    """The URL of the run's Azurite."""
    yield from _address(_AZURITE_VARIABLE)


@pytest.fixture(scope="session")
def gcs_url() -> Iterator[str]:
    """The URL of the run's fake-gcs-server."""
    yield from _address(_GCS_VARIABLE)


@pytest.fixture
def azure_environment(azurite_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point Azure's SDK in this process at the emulator, and return the connection string."""
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    connection_string = object_stores.azurite_connection_string(azurite_url)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string)
    return connection_string


@pytest.fixture
def gcs_environment(gcs_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point Google's SDK in this process at the emulator, and return its URL."""
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_url)
    return gcs_url


@pytest.fixture
def s3_client(aws_environment: dict[str, str]) -> Iterator[Any]:
    from botocore.session import Session  # an optional requirement: without it, the tests without AWS still run

    from taskq_cloud.clients.aws_sdk import with_shared_models

    client = with_shared_models(Session()).create_client("s3")
    yield client
    client.close()


@pytest.fixture
def make_bucket(s3_client: Any) -> Callable[..., str]:
    """Return a function that creates an S3 bucket with a unique name; the bucket lasts as long as the stack."""

    def make(name: str = "results") -> str:
        unique = f"{name}-{uuid4().hex[:8]}"
        s3_client.create_bucket(Bucket=unique, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
        return unique

    return make


@pytest.fixture
def azure_service(azure_environment: str) -> Iterator[Any]:
    from azure.storage.blob import BlobServiceClient  # optional, like botocore above

    with BlobServiceClient.from_connection_string(azure_environment) as client:
        yield client


@pytest.fixture
def make_container(azure_service: Any) -> Callable[..., str]:
    """Return a function that creates a container with a unique name; the container lasts as long as the emulator."""

    def make(name: str = "results") -> str:
        unique = f"{name}-{uuid4().hex[:8]}"
        azure_service.create_container(unique)
        return unique

    return make


@pytest.fixture
def gcs_client(gcs_environment: str) -> Iterator[Any]:
    from google.cloud import storage  # optional, like botocore above

    client = storage.Client()
    yield client
    client.close()


@pytest.fixture
def make_gcs_bucket(gcs_client: Any) -> Callable[..., str]:
    """Return a function that creates a bucket with a unique name; the bucket lasts as long as the emulator."""

    def make(name: str = "results") -> str:
        unique = f"{name}-{uuid4().hex[:8]}"
        gcs_client.create_bucket(unique)
        return unique

    return make
