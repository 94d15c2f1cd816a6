"""Chords of a key-value backend whose store has counters: the last member of a header sends the body."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery.backends.marking import _create_chord_error_with_cause
from taskq_cloud.celery.exceptions import ChordError
from taskq_cloud.celery.utils.log import get_logger

logger = get_logger(__name__)


class CountedChords:
    """The part of ``BaseKeyValueStoreBackend`` that counts the members of chords."""

    app: Any
    expires: Any
    implements_incr: Any
    _chord_expires: Any

    @property
    def chord_expires(self) -> Any:
        """The seconds after which the counter of a chord expires."""
        of: Any = self
        return self.expires if self._chord_expires is None else of.prepare_expires(self._chord_expires, type=int)

    @property
    def _chord_result_expires(self) -> Any:
        # Users read the results of a header, too, so they are kept for at least result_expires; 0 is no expiry.
        of_chord = self.chord_expires
        return max(of_chord, self.expires) if of_chord and self.expires else 0

    def _apply_chord_incr(self, header_result_args: Any, body: Any, **_: Any) -> None:
        of: Any = self
        of.ensure_chords_allowed()
        header = self.app.GroupResult(*header_result_args)
        header.save(backend=self)
        of.expire(of.get_key_for_group(header.id), self._chord_result_expires)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> Any:
        """Count the end of a chord's member; after the last one, send the body or let it fail.

        Args:
            request: the member's request.
            state: the state in which it has ended.
            result: its value or its exception.
            kwargs: have no effect.
        """
        of: Any = self
        group_id = request.group
        if not self.implements_incr or not group_id:
            return None
        header, error = self._header(group_id)
        if error is not None:
            return of.chord_error_from_stack(self._body(request), error)
        key = of.get_key_for_chord(group_id)
        arrived = of.incr(key)
        size = request.chord.get("chord_size")
        size = len(header) if size is None else size
        if arrived > size:
            logger.warning("Chord counter incremented too many times for %r", group_id)
        elif arrived == size:
            self._complete(request, header, key)
        else:
            of.expire(key, self.chord_expires)
            of.expire(of.get_key_for_group(group_id), self._chord_result_expires)
            of.expire(of.get_key_for_task(request.id), self._chord_result_expires)
        return None

    def _body(self, request: Any) -> Any:
        from taskq_cloud.celery.canvas import maybe_signature  # signatures ask backends

        return maybe_signature(request.chord, app=self.app)

    def _header(self, group_id: Any) -> tuple[Any, ChordError | None]:
        from taskq_cloud.celery.result import GroupResult  # results ask backends

        try:
            header = GroupResult.restore(group_id, backend=self)
        except Exception as trouble:
            logger.exception("Chord %r raised", group_id)
            return None, ChordError(f"Cannot restore group: {trouble!r}")
        if header is None:
            logger.error("Chord callback %r raised: %r", group_id, ValueError(group_id))
            return None, ChordError(f"GroupResult {group_id} no longer exists")
        return header, None

    def _complete(self, request: Any, header: Any, key: Any) -> None:
        from taskq_cloud.celery.result import allow_join_result  # results ask backends

        of: Any = self
        body, group_id = self._body(request), request.group
        join = header.join_native if header.supports_native_join else header.join
        try:
            with allow_join_result():
                values = join(timeout=self.app.conf.result_chord_join_timeout, propagate=True)
        except Exception as trouble:
            failed = next(header._failed_join_report(), None)
            reason = repr(trouble) if failed is None else f"Dependency {failed.id} raised {trouble!r}"
            logger.exception("Chord %r raised: %r", group_id, reason)
            of.chord_error_from_stack(callback=body, exc=_create_chord_error_with_cause(reason, trouble))
        else:
            try:
                body.delay(values)
            except Exception as trouble:
                logger.exception("Chord %r raised", group_id)
                error = _create_chord_error_with_cause(f"Callback error: {trouble!r}", trouble)
                of.chord_error_from_stack(callback=body, exc=error)
        finally:
            header.delete()
            of.delete(key)
            for each in header.results:
                of.expire(of.get_key_for_task(each.id), self.expires)
