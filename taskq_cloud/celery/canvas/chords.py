"""Groups whose values another signature waits for: ``chord``."""

from __future__ import annotations

from collections.abc import MutableSequence
from functools import partial
from typing import Any

from taskq_cloud.celery.canvas import chord_body, kinds, native_form, stamping
from taskq_cloud.celery.canvas.building import _maybe_group, maybe_signature, maybe_unroll_group
from taskq_cloud.celery.canvas.chain_steps import strip_chord_header_links
from taskq_cloud.celery.canvas.chord_parts import ChordParts
from taskq_cloud.celery.canvas.signatures import Signature
from taskq_cloud.celery.native import collecting
from taskq_cloud.celery.utils import uuid
from taskq_cloud.celery.utils._regen import _regen
from taskq_cloud.celery.utils.functional import maybe_list


@Signature.register_type(name="chord")
class _chord(ChordParts):
    """A header, whose tasks run side by side, and a body, which runs with the list of their values.

    Args:
        header: the tasks of the header: a group, a signature, or an iterable of signatures.
        body: the body; None: it is given when the chord is called.
        task: Celery's name for chords.
        args: put before the arguments of the header's tasks.
        kwargs: further parts of the chord.
        app: the application.
        options: as for ``Signature``.
    """

    @classmethod
    def from_dict(cls, d: dict[str, Any], app: Any = None) -> Any:
        """Make a chord of its dict."""
        (header, body), kwargs = cls._unpack_args(**d["kwargs"])
        return cls(header, body, app=app, **{**d, "kwargs": kwargs})

    @staticmethod
    def _unpack_args(header: Any = None, body: Any = None, **kwargs: Any) -> tuple[tuple[Any, Any], dict[str, Any]]:
        return (header, body), kwargs

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Any = None,
        kwargs: Any = None,
        app: Any = None,
        **options: Any,
    ) -> None:
        parts = {"header": _maybe_group(header, app), "body": maybe_signature(body, app=app)}
        super().__init__(task, args or (), {**(kwargs or {"kwargs": {}}), **parts}, app=app, **options)
        self.subtask_type = "chord"

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send the chord, with this body unless it has one."""
        return self.apply_async((), {"body": body} if body else {}, **options)

    def __or__(self, other: Any) -> Any:
        if kinds.is_group(other) and len(other.tasks) == 1:
            other = maybe_unroll_group(other)
        elif kinds.is_group(other) or kinds.is_chain(other) or not isinstance(other, Signature):
            return super().__or__(other)
        joined = self.clone()
        joined.body = joined.body | other
        return joined

    def freeze(
        self,
        _id: Any = None,
        group_id: Any = None,
        chord: Any = None,
        root_id: Any = None,
        parent_id: Any = None,
        group_index: Any = None,
    ) -> Any:
        """Fix the ids of header and body, and return the result of the body; arguments as for ``Signature.freeze``.

        Raises:
            RuntimeError: a result is among its own parents.
        """
        if not kinds.is_group(self.tasks):
            known = {"task_id": self._header_id} if self._header_id else {}
            self.tasks = kinds.make("group", self.tasks, app=self.app, **known)
        header_result = self.tasks.freeze(parent_id=parent_id, root_id=root_id, chord=self.body)
        self.id = self._header_id = self.tasks.id
        if self.body is None:
            return None
        result = self.body.freeze(_id, root_id=root_id, chord=chord, group_id=group_id, group_index=group_index)
        node, seen = result, set()
        while node:
            if node.id in seen:
                raise RuntimeError("Recursive result parents")
            seen.add(node.id)
            if node.parent is None:
                node.parent = header_result
                break
            node = node.parent
        return result

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp header and, with a visitor, body: see ``Signature.stamp``."""
        tasks = self.tasks.tasks if kinds.is_group(self.tasks) else self.tasks
        chosen = None if visitor is None else visitor.on_chord_header_start(self, **headers) or {}
        stamps = self._stamp_headers(chosen, append_stamps, **headers)
        self.stamp_links(visitor, append_stamps, **stamps)
        if isinstance(tasks, _regen):
            tasks.map(partial(stamping.stamp_member, visitor=visitor, append_stamps=append_stamps, **stamps))
        else:
            for task in tasks:
                task.stamp(visitor, append_stamps, **stamps)
        if visitor is None:
            return
        visitor.on_chord_header_end(self, **stamps)
        if self.body is not None:
            chosen = visitor.on_chord_body(self, **stamps) or {}
            self.body.stamp(visitor, append_stamps, **self._stamp_headers(chosen, append_stamps, **stamps))

    # -- calling

    def apply_async(  # type: ignore[override]
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: Any = None,
        producer: Any = None,
        publisher: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        **options: Any,
    ) -> Any:
        """Send the chord.

        Args:
            args: put before the arguments of each task of the header.
            kwargs: keyword arguments of each task of the header; ``body`` among them is the body.
            task_id: the id of the body.
            producer: taken and not used.
            publisher: taken and not used.
            connection: taken and not used.
            router: taken and not used.
            result_cls: taken and not used.
            options: options of header and body. ``countdown`` and ``eta`` are for the header alone, ``link`` and
                ``link_error`` for the body.

        Returns:
            The result of the body, whose ``parent`` is the ``GroupResult`` of the header.
        """
        args = (*(args or ()), *self.args) if args and not self.immutable else self.args
        kwargs = kwargs or {}
        body = kwargs.pop("body", None) or self.kwargs["body"]
        kwargs = {**self.kwargs["kwargs"], **kwargs}
        due = {name: options.pop(name) for name in ("countdown", "eta") if options.get(name) is not None}
        links: dict[str, Any] = {name: options.pop(name) for name in ("link", "link_error") if name in options}
        body = body.clone(**self._body_options(options))
        app = self._get_app(body)
        header = self._header(app)
        if app.conf.task_always_eager:
            from taskq_cloud.celery.result import allow_join_result

            body = self._add_body_callbacks(body, {**self.options, **links})
            with allow_join_result():
                return self.apply(args, kwargs, body=body, task_id=task_id, **options)
        merged = {**self.options, **options, **links}
        merged = {name: value for name, value in merged.items() if name not in ("countdown", "eta")}
        own_id = merged.pop("task_id", None)
        if due:
            merged["header_delay"] = due
        return self.run(header, body, args, task_id=own_id if task_id is None else task_id, kwargs=kwargs, **merged)

    def _header(self, app: Any) -> Any:
        """Return the header as a group of its own, which can be changed."""
        tasks = self.tasks
        if kinds.is_group(tasks):
            return tasks.clone()
        if isinstance(tasks, MutableSequence) and not isinstance(tasks, _regen):
            tasks = tasks[:]
        header = kinds.make("group", tasks, app=app, task_id=self.options.get("task_id") or uuid())
        if not self.options.get("task_id"):
            header._new_id = header.options["task_id"]
        return header

    def run(
        self,
        header: Any,
        body: Any,
        partial_args: Any,
        app: Any = None,
        interval: Any = None,
        countdown: Any = 1,
        max_retries: Any = None,
        eager: bool = False,
        task_id: Any = None,
        kwargs: Any = None,
        header_delay: Any = None,
        **options: Any,
    ) -> Any:
        """Send a header and a body; the body at once, if the header is empty.

        Args:
            header: the header, as a group.
            body: the body.
            partial_args: put before the arguments of each task of the header.
            app: the application.
            interval: taken and not used, like the next two: nothing polls the header's results here.
            countdown: not used.
            max_retries: not used.
            eager: not used, as in Celery.
            task_id: the id of the body.
            kwargs: keyword arguments of each task of the header.
            header_delay: ``countdown`` and ``eta`` of the header's tasks.
            options: options of header and body.
        """
        app = app or self._get_app(body)
        group_id = header.options.get("task_id")
        if not group_id:
            group_id = header._new_id = uuid()
        root_id = body.options.get("root_id")
        options = {**self.options, **options}
        due = {name: value for name in ("countdown", "eta") if (value := options.pop(name, None)) is not None}
        due |= header_delay or {}
        if options:
            options.pop("task_id", None)
            body = self._add_body_callbacks(body, options)
            body.options.update(self._body_options(options))
        if kinds.is_chain(body):
            body._unroll_chords(app)
        result = body.freeze(task_id or uuid(), group_id=group_id, root_id=root_id)
        strip_chord_header_links(body)
        header.options["task_id"] = group_id
        header_id, results = header._freeze_group_tasks(group_id=group_id, chord=body, root_id=root_id)
        if header.tasks:
            chord_body.tell_backend(
                app.backend, (header_id, results), body, interval=interval, countdown=countdown, max_retries=max_retries
            )
            of_header = {name: value for name, value in options.items() if name not in ("chain", "chord", "task_id")}
            with collecting.collected(()) as calls:
                header_result = header.apply_async(partial_args, kwargs, **{**of_header, **due, "task_id": group_id})
            for call in calls:  # none, if task_always_eager has run the header already
                collecting.send(app, native_form.chord_form(call, native_form.plain(body, app)))
        else:
            body.delay([])
            header_result = self.app.GroupResult(header_id, results)
        result.parent = header_result
        return result

    def apply(
        self, args: Any = None, kwargs: Any = None, propagate: bool = True, body: Any = None, **options: Any
    ) -> Any:
        """Run the header in place, then the body with its values.

        Args:
            args: put before the arguments of each task of the header.
            kwargs: keyword arguments of each task of the header.
            propagate: whether the exception of a task of the header is raised.
            body: the body, in place of the chord's own.
            options: taken and not used, as in Celery.
        """
        body = self.body if body is None else body
        header = self.tasks.clone() if kinds.is_group(self.tasks) else kinds.make("group", self.tasks, app=self.app)
        return body.apply(args=(header.apply(args or (), kwargs or {}).get(propagate=propagate),))

    # -- changing

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        """Return a copy, as ``Signature.clone`` does, with a copy of the body."""
        copy = super().clone(*args, **kwargs)
        copy._header_id = self._header_id
        if "body" in copy.kwargs:
            copy.body = maybe_signature(copy.body, clone=True)
        return copy

    def link(self, callback: Any) -> Any:
        """Add a callback to the body, and return it."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Add an errback to the body, and return it.

        With the setting ``task_allow_error_cb_on_chord_header``, the tasks of the header get it too.
        """
        errback = maybe_signature(errback)
        header = maybe_list(self.tasks) or []
        if self.app.conf.task_allow_error_cb_on_chord_header:
            for task in header:
                task.link_error(errback.clone(immutable=True))
        else:
            chord_body.warn_of_errbacks_without_header()
        for task in header:
            if kinds.is_chord(task):
                task.link_error(errback)
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Set whether the tasks of the header take no value from the task before the chord."""
        for task in self.tasks:
            task.set_immutable(immutable)


kinds.CLASSES["chord"] = _chord
