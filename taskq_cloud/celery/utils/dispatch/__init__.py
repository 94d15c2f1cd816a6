"""Signals and those who listen to them."""

from .signal import Signal

__all__ = ("Signal",)
