"""Finds the path by which the processes of a pool import an application that is there as an object."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def path_of(app: Any) -> str | None:
    """Return the path of an application, such as ``shop.celery:app``; None: no module has it as an attribute.

    An application of a script is found under the name of the script's module. Its processes then name its tasks after
    the application, as the script does.
    """
    found = {
        name: attribute
        for name, module in list(sys.modules.items())
        if name != "__mp_main__"
        and not name.startswith("taskq_cloud.")
        and (attribute := _attribute(module, app)) is not None
    }
    if not found:
        return None
    # Many modules import the application; that of its own name, or the shortest one, is likely to be where it is made.
    name = min(found, key=lambda each: (each == "__main__", each.partition(".")[0] != app.main, len(each)))
    if name != "__main__":
        return f"{name}:{found[name]}"
    script = _name_of_script()
    return None if script is None else f"{script}:{found[name]}"


def _attribute(module: Any, app: Any) -> str | None:
    names = getattr(module, "__dict__", {})
    return next((name for name, value in list(names.items()) if value is app), None)


def _name_of_script() -> str | None:
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if file is None:
        return None
    # Processes of the pool read both: where modules are, and which file's tasks are named after the application.
    os.environ["MP_MAIN_FILE"] = str(Path(file).resolve())
    if spec is not None:
        return str(spec.name)
    folder = str(Path(file).resolve().parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, paths)])
    return Path(file).stem
