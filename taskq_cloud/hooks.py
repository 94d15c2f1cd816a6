"""Hooks: code that an application has called around its tasks, its messages and its processes. See docs/hooks.md.

A subclass of ``Hooks`` has the methods that it needs; ``app.add_hooks`` and ``@app.task(hooks=[...])`` add an object of
it. The other names are those of the objects that the methods are given.
"""

from taskq_cloud.core.model.hooks import INTERRUPTED, REPLACED, Call, Hooks, Received, Run, RunningWorker

__all__ = ["INTERRUPTED", "REPLACED", "Call", "Hooks", "Received", "Run", "RunningWorker"]
