"""The signatures that are linked to another, and the stamps of them all: methods of ``Signature`` (``Linking``)."""

from __future__ import annotations

from collections.abc import MutableSequence
from copy import deepcopy
from typing import Any

from taskq_cloud.celery.canvas import stamping
from taskq_cloud.celery.canvas.building import maybe_signature
from taskq_cloud.celery.utils.functional import maybe_list


class Linking:
    """The part of ``Signature`` that changes its links and its stamps."""

    app: Any
    options: Any
    set: Any

    # -- stamps

    def _stamp_headers(
        self, visitor_headers: Any = None, append_stamps: bool = False, self_headers: bool = True, **headers: Any
    ) -> dict[str, Any]:
        """Merge stamps: see ``stamping.collected``."""
        return stamping.collected(self.options, visitor_headers, headers, append=append_stamps, own=self_headers)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:
        """Stamp the task and the signatures that are linked to it.

        Args:
            visitor: chooses further stamps.
            append_stamps: a stamp that is there already becomes a list of its values; otherwise the first value stays.
            headers: the stamps.
        """
        self.stamp_links(visitor, append_stamps, **headers)
        chosen = None if visitor is None else visitor.on_signature(self, **headers) or {}
        return self.set(**self._stamp_headers(chosen, append_stamps, **headers))

    def stamp_links(self, visitor: Any, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp the signatures that are linked to this one, with the stamps given and without those it has."""
        for name, choice in (("link", "on_callback"), ("link_error", "on_errback")):
            stamps = deepcopy(headers)
            for linked in maybe_list(self.options.get(name)) or []:
                each = maybe_signature(linked, app=self.app)
                chosen = None if visitor is None else getattr(visitor, choice)(each, **stamps) or {}
                stamps = self._stamp_headers(chosen, append_stamps, self_headers=False, **stamps)
                each.stamp(visitor, append_stamps, **stamps)

    # -- links

    def _with_list_option(self, key: str) -> Any:
        """Return an option as the list that the options hold from now on."""
        items = self.options.setdefault(key, [])
        if not isinstance(items, MutableSequence):
            items = self.options[key] = [items]
        return items

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add a value to an option that is a list, unless it is in there, and return the value."""
        items = self._with_list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Add one value, or a list of them, to an option that is a list."""
        self._with_list_option(key).extend(maybe_list(value))

    def link(self, callback: Any) -> Any:
        """Add a signature that runs with the task's value, and return that signature."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Add a signature that runs if the task fails, and return that signature."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Any:
        """Add a signature that runs if the task fails, and return this signature."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Any]:
        """List this signature, its callbacks, their callbacks, and so on."""
        links = maybe_list(self.options.get("link")) or []
        return [self, *(each for link in links for each in link.flatten_links())]
