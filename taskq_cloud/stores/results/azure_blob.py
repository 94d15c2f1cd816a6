"""Stores results in a container of Azure Blob Storage.

``_objects`` defines the objects and how they change; this module has Azure's operations and error codes. Conditional
writes use If-None-Match and If-Match (Azure's "Specifying conditional headers for Blob service operations").
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from taskq_cloud.core.flows import Call
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, LifecycleRule, ListedObject, StoredObject, StoreErrors
from taskq_cloud.stores.results._objects import ObjectResults, prefix_of

_KINDS: Final = {
    "BlobNotFound": FailureKind.NOT_FOUND,
    "InvalidRange": FailureKind.EMPTY,
    "ObjectTooLarge": FailureKind.TOO_LARGE,
    "ConditionNotMet": FailureKind.CONDITION_FAILED,
    # The code is compared, as other errors have the status 409, too: a container being deleted, a leased blob.
    "BlobAlreadyExists": FailureKind.CONDITION_FAILED,
    "ContainerNotFound": FailureKind.STORE_NOT_FOUND,
    "AuthorizationFailure": FailureKind.ACCESS_DENIED,
    "AuthorizationPermissionMismatch": FailureKind.ACCESS_DENIED,
    "AuthorizationServiceMismatch": FailureKind.ACCESS_DENIED,
    "AuthorizationResourceTypeMismatch": FailureKind.ACCESS_DENIED,
    "InsufficientAccountPermissions": FailureKind.ACCESS_DENIED,
    "PublicAccessNotPermitted": FailureKind.ACCESS_DENIED,
    "KeyBasedAuthenticationNotPermitted": FailureKind.ACCESS_DENIED,
    "UnauthorizedBlobOverwrite": FailureKind.ACCESS_DENIED,
    "RequestDateHeaderTooOld": FailureKind.CLOCK_SKEW,
}
"""Error code -> kind of failure (Azure's "Blob Storage error codes" and "Common REST API error codes")."""

_BLOBS: Final = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_PERMISSIONS: Final = {
    "download_blob": f"{_BLOBS}/read",
    "upload_blob": f"{_BLOBS}/write",
    "delete_blob": f"{_BLOBS}/delete",
    "list_blobs": f"{_BLOBS}/read",
}

_WHERE_SECRETS_GO: Final = (
    "put an account key into AZURE_STORAGE_CONNECTION_STRING or a shared access signature into "
    "AZURE_STORAGE_SAS_TOKEN; without either, the SDK finds an identity"
)


class AzureBlobResults(ObjectResults):
    """The store behind ``azureblob://container/prefix``.

    Args:
        container: the container's name.
        prefix: the prefix of all blobs' names; a ``/`` is added to it.
        account_url: ``https://ACCOUNT.blob.core.windows.net``; None: the account of AZURE_STORAGE_CONNECTION_STRING.
        clock: returns the time, in seconds since the epoch.
    """

    def __init__(
        self,
        container: str,
        prefix: str = "",
        account_url: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._container = container
        self._account_url = account_url
        account = account_url or "the account of AZURE_STORAGE_CONNECTION_STRING"
        super().__init__(_AzureContainer(container, account), prefix, clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> AzureBlobResults:
        """Make the store for ``azureblob://container`` or ``azureblob://container/prefix``.

        Args:
            url: the URL; takes the option ``account_url``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL doesn't name a container, or has an unknown option or credentials. The error
                doesn't show the URL, because Celery's URLs of this scheme are connection strings.
        """
        if not re.fullmatch(r"[a-z0-9](?:-?[a-z0-9]){2,62}", url.netloc):
            raise ImproperlyConfigured(
                f"the {url.scheme}:// URL doesn't name a container: write {url.scheme}://container/prefix"
                f"?account_url=https://ACCOUNT.blob.core.windows.net; {_WHERE_SECRETS_GO}"
            )
        account_url = query_of(url, ("account_url",)).get("account_url")
        if account_url is not None:
            account = urlsplit(account_url)
            if account.scheme not in ("https", "http") or not account.hostname or account.query or account.username:
                raise ImproperlyConfigured(
                    f"{url.scheme}://{url.netloc}: account_url must be like https://ACCOUNT.blob.core.windows.net; "
                    f"{_WHERE_SECRETS_GO}"
                )
        return cls(url.netloc, prefix_of(url), account_url)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the storage account."""
        return {"azureblob": Service("azure", (("account_url", self._account_url),) if self._account_url else ())}

    def lifecycle(self, result_expires_seconds: float) -> list[dict[str, Any]]:
        """The ``rules`` for the account's management policy.

        Args:
            result_expires_seconds: how many seconds results are kept (``result_expires``).
        """
        return [lifecycle_rule(rule, self._container) for rule in self.lifecycle_rules(result_expires_seconds)]


def lifecycle_rule(rule: LifecycleRule, container: str) -> dict[str, Any]:
    """Write a rule in the form of the account's management policy, where a prefix begins with its container's name."""
    return {
        "name": f"{container}-{rule.name}",
        "enabled": True,
        "type": "Lifecycle",
        "definition": {
            "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{container}/{rule.prefix}"]},
            "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": rule.days}}},
        },
    }


class _AzureContainer:
    def __init__(self, name: str, account: str) -> None:
        self._name = name
        self._account = account
        self.errors = StoreErrors(
            f"Azure Blob Storage container {name} ({account})",
            f"az storage container create --name {name} --account-name ACCOUNT",
            _KINDS,
            _PERMISSIONS,
        )

    def named(self, name: str) -> _AzureContainer:
        return _AzureContainer(name, self._account)

    def create(self, key: str, body: bytes) -> Call:
        return self._call("upload_blob", blob=key, data=body, metadata={}, etag=None)

    def get(self, key: str, most_bytes: int | None) -> Call:
        return self._call("download_blob", blob=key, most_bytes=most_bytes)

    def put(self, key: str, new: StoredObject, over: str | None) -> Call:
        return self._call("upload_blob", blob=key, data=new.body, metadata=dict(new.metadata), etag=over)

    def delete(self, key: str) -> Call:
        return self._call("delete_blob", blob=key)

    def list(self, prefix: str, after: str | None) -> Call:
        return self._call("list_blobs", name_starts_with=prefix, after=after)

    def bytes_of(self, answer: Any) -> bytes:
        body: bytes = answer["content"]
        return body

    def object_of(self, answer: Any) -> StoredObject:
        return StoredObject(answer["content"], answer["metadata"], answer["etag"])

    def page_of(self, answer: Any) -> tuple[Sequence[ListedObject], str | None]:
        return [ListedObject(*each) for each in answer["objects"]], answer["after"]

    def _call(self, operation: str, **parameters: Any) -> Call:
        return Call("azureblob", operation, {"container": self._name, **parameters})
