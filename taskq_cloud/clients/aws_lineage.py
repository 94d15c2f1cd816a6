"""Keeps chains of tasks from looking like endless loops to AWS Lambda.

Inside a function the SDKs send the function's trace header with each call. SQS keeps that header with the message, and
Lambda counts in its part ``Lineage`` how often a chain of messages has passed a function. After about 16 passages
Lambda takes the chain for an endless loop and stops it, unless the function's recursion configuration is ``Allow``
(Lambda Developer Guide, "invocation-recursion"). A workflow of 17 tasks is such a chain, and so is a task with many
retries. Therefore the header is sent only where the invocation is traced, because a trace would break without it.

``TASKQ_RECURSIVE_LOOP=Terminate``, which a deployment sets if it wants Lambda's detection, keeps the header.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any, Final
from urllib.parse import quote

RECURSIVE_LOOP_VARIABLE: Final = "TASKQ_RECURSIVE_LOOP"
"""The function's recursion configuration, as far as it differs from ``Allow``."""

_HEADER: Final = "X-Amzn-Trace-Id"


def leave_out_lineage(client: Any) -> None:
    """Let a client of botocore or aiobotocore send the trace header of traced invocations only."""
    if os.environ.get(RECURSIVE_LOOP_VARIABLE) != "Terminate":
        client.meta.events.register_last("before-call", _leave_out)  # last: after the handler that adds the header


def trace_header() -> str | None:
    """Return the trace header with which a request of the lean driver is sent; None: without one."""
    trace = os.environ.get("_X_AMZN_TRACE_ID", "")
    if "Sampled=1" in trace or os.environ.get(RECURSIVE_LOOP_VARIABLE) == "Terminate":
        return quote(trace, safe="-=;:+&[]{}\"',") or None  # as the SDKs write it
    return None


def _leave_out(params: MutableMapping[str, Any], **_: Any) -> None:
    header = params["headers"].get(_HEADER)
    if header is not None and "Sampled=1" not in header:
        del params["headers"][_HEADER]
