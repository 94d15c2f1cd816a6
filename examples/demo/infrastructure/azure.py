"""Azure Blob Storage as a result store, in the emulator Azurite."""

from __future__ import annotations

from azure.storage.blob import BlobServiceClient

from demo.infrastructure.interface import RESULTS, Infrastructure, Machine, Meter, RunningStore
from emulators import object_stores

_VARIABLE = "AZURE_STORAGE_CONNECTION_STRING"


def _missing() -> str | None:
    if object_stores.azurite_missing() is None:
        return None
    return (
        "Azurite is not installed: install Node with npm, then make demo installs Azurite; or run npm install -g "
        "azurite; or choose another store with RESULTS"
    )


def _start_blobs(machine: Machine) -> RunningStore:
    azurite = machine.cleanup.enter_context(object_stores.azurite())
    machine.say(f"Azurite, an emulator of Azure Blob Storage, answers at {azurite.url}")
    counter = machine.count_calls(azurite.url)
    connection_string = object_stores.azurite_connection_string(azurite.url)
    with BlobServiceClient.from_connection_string(connection_string) as client:
        client.create_container(RESULTS)
    machine.say(f"Created the container {RESULTS} in it")
    return RunningStore(
        url=f"azureblob://{RESULTS}",
        environment={_VARIABLE: object_stores.azurite_connection_string(counter.endpoint_url)},
        uncounted={_VARIABLE: connection_string},
        contents=f"blobs in the Azure container {RESULTS}",
        key_of="celery-task-meta-{}".format,
        meter=Meter("Blob Storage", counter),
    )


BLOBS = Infrastructure(_start_blobs, _missing)
