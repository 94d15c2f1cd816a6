"""What the shop needs of a broker and of a result store, made on this machine: which ones there are, by name.

Each is an ``Infrastructure``: module ``aws`` has SQS, DynamoDB and S3, ``google`` Pub/Sub and Cloud
Storage, ``azure`` Blob Storage, ``sqlite`` a file for either. ``places`` says what one hands over.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from demo.infrastructure.places import BrokerPlace, Infrastructure, Machine, StorePlace, Unavailable

__all__ = ["BROKERS", "STORES", "BrokerPlace", "Machine", "StorePlace", "Unavailable", "broker_named", "store_named"]

# Imported only when chosen: each imports its provider's SDK.
BROKERS: Final[Mapping[str, str]] = {"sqs": "aws:SQS", "pubsub": "google:PUBSUB", "sqlite": "sqlite:BROKER"}
STORES: Final[Mapping[str, str]] = {
    "dynamodb": "aws:DYNAMODB",
    "s3": "aws:S3",
    "azureblob": "azure:BLOBS",
    "gs": "google:STORAGE",
    "sqlite": "sqlite:RESULTS",
}


def broker_named(name: str) -> Infrastructure[BrokerPlace]:
    """The infrastructure of a broker.

    Raises:
        Unavailable: there is none of that name, or what it takes is not installed.
    """
    found: Infrastructure[BrokerPlace] = _named("broker", BROKERS, name)
    return found


def store_named(name: str) -> Infrastructure[StorePlace]:
    """The infrastructure of a result store; raises as ``broker_named`` does."""
    found: Infrastructure[StorePlace] = _named("result store", STORES, name)
    return found


def _named(kind: str, known: Mapping[str, str], name: str) -> Any:
    if name not in known:
        raise Unavailable(f"the demo knows no {kind} {name!r}; there are {', '.join(known)}")
    module, _, constant = known[name].partition(":")
    try:
        found = getattr(import_module(f"{__name__}.{module}"), constant)
    except ImportError as error:
        raise Unavailable(f"{name}: {error}; pip install -e '.[test]' installs all that the demo takes") from error
    reason = found.missing()
    if reason:
        raise Unavailable(f"{name}: {reason}")
    return found
