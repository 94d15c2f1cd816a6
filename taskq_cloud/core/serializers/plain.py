"""Values that every serializer writes as plain JSON: a workflow among a task's arguments, or as its value.

Celery's signature is a dict, and its result goes as a tuple. What these are here is for those to say who make them.
"""

from __future__ import annotations

from typing import Any


class PlainForm:
    """A value with a plain form. Whoever receives it gets that form: it is not made into the value again."""

    __slots__ = ()

    def __json__(self) -> Any:
        """Its plain form: dicts, lists and what JSON has beside; values with a plain form may stand in it.

        The name is kombu's, whose serializers of JSON ask for it too.
        """
        raise NotImplementedError
