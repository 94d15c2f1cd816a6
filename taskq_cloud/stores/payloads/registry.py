"""Finds the payload store for a URL. A payload store is the bucket of a result store, so both share their URLs."""

from __future__ import annotations

from urllib.parse import urlsplit

from taskq_cloud.core.urls import without_secrets
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.payloads.objects import ObjectPayloads
from taskq_cloud.stores.results._objects import ObjectResults
from taskq_cloud.stores.results.registry import store_from_url


def payload_store_from_url(url: str) -> ObjectPayloads:
    """Make the payload store for a URL, without a call to its service.

    Args:
        url: ``s3://bucket/prefix``, ``azureblob://container/prefix`` or ``gs://bucket/prefix``, with the options that
            the result stores of these schemes have.

    Raises:
        ImproperlyConfigured: the URL has another scheme, or doesn't name a bucket.
    """
    results = store_from_url(url, {})
    if not isinstance(results, ObjectResults):
        raise ImproperlyConfigured(
            f"payloads can't be kept in {without_secrets(url)!r}, which is not a bucket: write s3://bucket/prefix, "
            "azureblob://container/prefix or gs://bucket/prefix"
        )
    split = urlsplit(url)
    return ObjectPayloads(results.objects.bucket, f"{split.scheme}://{split.netloc}", results.prefix, results.services)
