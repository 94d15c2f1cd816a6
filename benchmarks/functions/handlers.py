"""The handler that the runtime client imports: the one of ``BENCH_FUNCTION``, such as ``taskq_functions:producer``."""

import importlib
import importlib.abc
import os
import sys
from typing import Any


class _WithoutPydantic(importlib.abc.MetaPathFinder):
    """Hides pydantic, as in a package that was made with ``taskq package --producer``."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in ("pydantic", "pydantic_settings"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if os.environ.get("BENCH_WITHOUT_PYDANTIC"):
    sys.meta_path.insert(0, _WithoutPydantic())
module, _, name = os.environ["BENCH_FUNCTION"].partition(":")
handler = getattr(importlib.import_module(module), name)()
