"""The contract suites: tests of each port, which every adapter passes."""

import pkgutil

import pytest

# pytest shows the values in a failed assertion only in test files, and in modules registered before their import.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
