"""The header and the body of a chord: their sizes, their texts and their application (``ChordParts``)."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.canvas import chord_body, kinds
from taskq_cloud.celery.canvas.chain_steps import options_of_first
from taskq_cloud.celery.canvas.signatures import Signature
from taskq_cloud.celery.utils import cached_property
from taskq_cloud.celery.utils.objects import getitem_property
from taskq_cloud.celery.utils.text import remove_repeating_from_task


class ChordParts(Signature):
    """The part of a chord that looks at its header and its body."""

    tasks = getitem_property("kwargs.header", "The tasks of the header.")
    body = getitem_property("kwargs.body", "The body.")
    # The id of the header, once the chord is frozen: a copy of the chord has the tasks of that group alone.
    _header_id: Any = None

    # -- counting

    @classmethod
    def _descend(cls, sig_obj: Any) -> int:
        """Count the tasks in which a signature ends, each of which a chord waits for."""
        if isinstance(sig_obj, dict) and not isinstance(sig_obj, Signature):
            sig_obj = Signature.from_dict(sig_obj)
        if kinds.is_group(sig_obj):
            tasks = getattr(sig_obj.tasks, "tasks", sig_obj.tasks)
            return sum(map(cls._descend, tasks))
        if kinds.is_chain(sig_obj):
            return next((size for task in sig_obj.tasks[::-1] if (size := cls._descend(task)) > 0), 0)
        if kinds.is_chord(sig_obj):
            return cls._descend(sig_obj.body)
        return 1 if isinstance(sig_obj, Signature) else len(sig_obj)

    def __length_hint__(self) -> int:
        return sum(map(self._descend, getattr(self.tasks, "tasks", self.tasks)))

    # -- the body

    @staticmethod
    def _body_options(options: dict[str, Any]) -> dict[str, Any]:
        """Return the options that the body gets: its parent is a task of the header, not that of the chord."""
        return {name: value for name, value in options.items() if name != "parent_id"}

    @staticmethod
    def _add_body_callbacks(body: Any, options: dict[str, Any]) -> Any:
        """Take the links out of options, and return the body with them: see ``chord_body.with_links``."""
        return chord_body.with_links(body, options)

    def _unroll_body(self) -> list[Any]:
        """Return this chord with the first task of its body, a chain, as the body, and then the other tasks of it."""
        chord = self.clone()
        first, *others = chord.body.unchain_tasks()
        chord.body = first.clone(**options_of_first(chord.body))
        return [chord, *others]

    def __repr__(self) -> str:
        body = self.body
        if not body:
            return f"<chord without body: {self.tasks!r}>"
        if not kinds.is_chain(body):
            return "%" + remove_repeating_from_task(body["task"], body.reprcall(self.tasks))
        first = body.tasks[0]
        rest = kinds.CLASSES["chain_function"](body.tasks[1:], app=self._app)
        return remove_repeating_from_task(first["task"], f"%({first.reprcall(self.tasks)} | {rest!r})")

    # -- the application

    @cached_property
    def app(self) -> Any:
        """The application: the chord's own, that of its first task or its body, or the current one."""
        return self._get_app(self.body)

    def _get_app(self, body: Any = None) -> Any:
        app = self._app
        if app is None:
            tasks = self.tasks.tasks if kinds.is_group(self.tasks) else self.tasks
            if tasks:
                app = chord_body.app_of(tasks[0])
            if app is None and body is not None:
                app = chord_body.app_of(body)
        return app if app is not None else current_app
