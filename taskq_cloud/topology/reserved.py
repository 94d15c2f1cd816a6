"""Variables that Lambda sets itself, and refuses where a function's configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskq_cloud.errors import ImproperlyConfigured

RESERVED: Final = frozenset(
    {
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
    }
)
"""Lambda Developer Guide, "configuration-envvars": "Defined runtime environment variables"."""


def check_variables(where: str, environment: Mapping[str, str]) -> None:
    """Refuse variables that CreateFunction refuses.

    Raises:
        ImproperlyConfigured: names them.
    """
    found = sorted(environment.keys() & RESERVED)
    if found:
        raise ImproperlyConfigured(
            f"{where}: Lambda sets {', '.join(found)} itself and refuses a function that does: leave it out of"
            " environment, or give it to services alone"
        )
