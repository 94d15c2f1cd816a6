"""A finding of the doctor: one difference, its consequence and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning"]
"""An error loses, repeats or stops work, or opens it to others; a warning costs money or time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between the declaration and the deployment.

    Args:
        check: the check's name in docs/doctor.md: ``"queue.visibility"``.
        resource: the resource that differs: ``"queue shop-orders"``.
        severity: how bad the difference is.
        difference: the deployed state and the declared one.
        consequence: what the difference leads to.
        remedy: what to do about it.
    """

    check: str
    resource: str
    severity: Severity
    difference: str
    consequence: str
    remedy: str
