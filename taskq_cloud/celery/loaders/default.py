"""The loader that reads the module ``celeryconfig``."""

from __future__ import annotations

import os
import warnings
from typing import Any, Final

from taskq_cloud.celery.exceptions import NotConfigured
from taskq_cloud.celery.loaders.base import BaseLoader
from taskq_cloud.celery.utils.collections import DictAttribute
from taskq_cloud.celery.utils.serialization import strtobool

__all__ = ("DEFAULT_CONFIG_MODULE", "Loader")

DEFAULT_CONFIG_MODULE: Final = "celeryconfig"

C_WNOCONF = strtobool(os.environ.get("C_WNOCONF", "0"))
"""Whether a missing configuration module is warned of."""


class Loader(BaseLoader):
    """Reads the configuration from the module of ``CELERY_CONFIG_MODULE``, or from ``celeryconfig``."""

    def setup_settings(self, settingsdict: Any) -> DictAttribute:
        """Return a module's attributes, or a dict, as the configuration."""
        return DictAttribute(settingsdict)

    def read_configuration(self, fail_silently: bool = True) -> Any:  # type: ignore[override]
        """Read the configuration.

        Args:
            fail_silently: whether a missing module is no error.

        Raises:
            ImportError: the module is missing.
            NotAPackage: the module's name can't be one.
        """
        name = os.environ.get("CELERY_CONFIG_MODULE", DEFAULT_CONFIG_MODULE)
        try:
            module = self._import_config_module(name)
        except ImportError:
            if not fail_silently:
                raise
            if C_WNOCONF:
                warnings.warn(
                    NotConfigured(f"No {name} module found! Please make sure it exists and is available to Python."),
                    stacklevel=2,
                )
            return self.setup_settings({})
        self.configured = True
        return self.setup_settings(module)
