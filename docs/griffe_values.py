"""A Griffe extension for the site: value types of ``core.lazy.values`` are dataclasses."""

from __future__ import annotations

from typing import Any

from griffe import Attribute, Class, Expr, ExprCall, ExprName, Extension

VALUES = "taskq_cloud.core.lazy.values"


class ValueTypes(Extension):
    """Gives the decorators and fields of value types the names that Griffe knows."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Rename them in one class."""
        attributes = (each.value for each in cls.members.values() if isinstance(each, Attribute))
        for value in [*(each.value for each in cls.decorators), *attributes]:
            if isinstance(value, ExprCall):
                value.function = _renamed(value.function)


def _renamed(function: Expr) -> Expr:
    if isinstance(function, ExprName) and function.canonical_path.startswith(f"{VALUES}."):
        return ExprName(f"dataclasses.{function.name}")
    return function
