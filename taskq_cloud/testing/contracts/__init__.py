"""Contract suites: one a port, run on every adapter."""

import pytest

# pytest shows the values in a failed assertion only in modules that it is told of before they are imported.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("broker", "broker_limits", "broker_ordering", "receiving", "result_store"))
)
