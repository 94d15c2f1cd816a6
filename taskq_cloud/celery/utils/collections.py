"""Mappings, sets and buffers of Celery's ``celery.utils.collections``, with their names and behaviour.

The mappings that a configuration is made of are in ``_mappings``, the buffers in ``_buffers``.
"""

from __future__ import annotations

from taskq_cloud.celery.utils._buffers import BufferMap, Evictable, Messagebuffer, OrderedDict
from taskq_cloud.celery.utils._limited_set import LimitedSet
from taskq_cloud.celery.utils._mappings import (
    AttributeDict,
    AttributeDictMixin,
    ChainMap,
    ConfigurationView,
    DictAttribute,
    force_mapping,
    lpmerge,
)

__all__ = (
    "AttributeDict",
    "AttributeDictMixin",
    "BufferMap",
    "ChainMap",
    "ConfigurationView",
    "DictAttribute",
    "Evictable",
    "LimitedSet",
    "Messagebuffer",
    "OrderedDict",
    "force_mapping",
    "lpmerge",
)
