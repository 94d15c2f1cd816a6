"""What the doctor finds: a difference, what it leads to, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between the declaration and what is there.

    Args:
        check: its name in docs/doctor.md: ``"queue.visibility"``.
        resource: ``"queue shop-orders"``.
        severity: an error loses, repeats or stops work, or opens it to others; a warning costs money or time.
        difference: what is declared, and what is there.
        consequence: what comes of it.
        remedy: what to do.
    """

    check: str
    resource: str
    severity: Literal["error", "warning"]
    difference: str
    consequence: str
    remedy: str
