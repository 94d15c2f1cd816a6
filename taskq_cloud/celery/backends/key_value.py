"""Backends over a store of keys and values: ``KeyValueStoreBackend``. A subclass has ``get``, ``set``, ``delete``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from taskq_cloud.celery import states
from taskq_cloud.celery.backends.base import Backend, SyncBackendMixin
from taskq_cloud.celery.backends.counted_chords import CountedChords
from taskq_cloud.celery.exceptions import BackendStoreError
from taskq_cloud.celery.exceptions import TimeoutError as CeleryTimeoutError
from taskq_cloud.celery.utils._encoding import bytes_to_str

__all__ = ("BaseKeyValueStoreBackend", "KeyValueStoreBackend")


def ensure_bytes(s: Any) -> bytes:
    """Encode a text; bytes stay as they are."""
    return s if isinstance(s, bytes) else str(s).encode()


class BaseKeyValueStoreBackend(CountedChords, Backend):
    """A backend over a store of keys and values.

    Attributes:
        key_t: the type of keys: ``str``, or a function that makes bytes.
        implements_incr: whether the store has counters, by which chords are counted.
    """

    key_t: Any = staticmethod(ensure_bytes)
    task_keyprefix: Any = "celery-task-meta-"
    group_keyprefix: Any = "celery-taskset-meta-"
    chord_keyprefix: Any = "chord-unlock-"
    implements_incr: Any = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.key_t = getattr(self.key_t, "__func__", self.key_t)  # not bound to this object
        super().__init__(*args, **kwargs)
        self._chord_expires = self.app.conf.get("result_chord_expires")
        self._add_global_keyprefix()
        for name in ("task_keyprefix", "group_keyprefix", "chord_keyprefix"):
            setattr(self, name, self.key_t(getattr(self, name)))
        if self.implements_incr:
            self.apply_chord = self._apply_chord_incr  # type: ignore[method-assign]

    def _add_global_keyprefix(self) -> None:
        prefix = (self.app.conf.get("result_backend_transport_options") or {}).get("global_keyprefix")
        if not prefix:
            return
        prefix += "" if prefix[-1] in ":_-." else "_"
        for name in ("task_keyprefix", "group_keyprefix", "chord_keyprefix"):
            setattr(self, name, f"{prefix}{getattr(self, name)}")

    # -- the store

    def get(self, key: Any) -> Any:
        """Return the value under a key; None if there is none."""
        raise NotImplementedError("Must implement the get method.")

    def mget(self, keys: Any) -> Any:
        """Return the values under several keys, as a list or a dict."""
        raise NotImplementedError("Does not support get_many")

    def set(self, key: Any, value: Any) -> Any:
        """Keep a value under a key."""
        raise NotImplementedError("Must implement the set method.")

    def _set_with_state(self, key: Any, value: Any, state: str) -> Any:
        return self.set(key, value)

    def delete(self, key: Any) -> Any:
        """Remove a key."""
        raise NotImplementedError("Must implement the delete method")

    def incr(self, key: Any) -> int:
        """Add one to a counter, and return it."""
        raise NotImplementedError("Does not implement incr")

    def expire(self, key: Any, value: Any) -> Any:
        """Let a key expire after so many seconds; a store without expiry does nothing."""

    # -- keys

    def get_key_for_task(self, task_id: Any, key: Any = "") -> Any:
        """Return the key of a task's document."""
        return self._key(self.task_keyprefix, "task_id", task_id, key)

    def get_key_for_group(self, group_id: Any, key: Any = "") -> Any:
        """Return the key of a saved group."""
        return self._key(self.group_keyprefix, "group_id", group_id, key)

    def get_key_for_chord(self, group_id: Any, key: Any = "") -> Any:
        """Return the key of the counter of a chord's header."""
        return self._key(self.chord_keyprefix, "group_id", group_id, key)

    def _key(self, prefix: Any, name: str, value: Any, key: Any) -> Any:
        if not value:
            raise ValueError(f"{name} must not be empty. Got {value} instead.")
        return self._get_key_for(prefix, value, key)

    def _get_key_for(self, prefix: Any, id: Any, key: Any = "") -> Any:
        of = self.key_t
        return of("").join([prefix, of(str(id) if isinstance(id, UUID) else id), of(key)])

    def _strip_prefix(self, key: Any) -> str:
        key = self.key_t(key)
        for prefix in (self.task_keyprefix, self.group_keyprefix):
            if key.startswith(prefix):
                return str(bytes_to_str(key[len(prefix) :]))
        return str(bytes_to_str(key))

    # -- reading

    def _ready(self, values: Iterable[tuple[Any, Any]], ready: frozenset[str]) -> Iterator[tuple[Any, Any]]:
        for key, value in values:
            if value is not None:
                meta = self.decode_result(value)
                if meta["status"] in ready:
                    yield key, meta

    def _mget_to_results(
        self,
        values: Any,
        keys: Any,
        READY_STATES: frozenset[str] = states.READY_STATES,
    ) -> dict[str, Any]:
        if isinstance(values, Mapping) or hasattr(values, "items"):
            return {self._strip_prefix(key): meta for key, meta in self._ready(values.items(), READY_STATES)}
        return {str(bytes_to_str(keys[at])): meta for at, meta in self._ready(enumerate(values), READY_STATES)}

    def get_many(
        self,
        task_ids: Iterable[Any],
        timeout: float | None = None,
        interval: float | None = 0.5,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
        max_iterations: int | None = None,
        READY_STATES: frozenset[str] = states.READY_STATES,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield the ids and documents of tasks, each when it has ended.

        Args:
            task_ids: the tasks' ids.
            timeout: the longest time to wait, in seconds; None: without end.
            interval: the pause between two looks, in seconds.
            no_ack: has no effect.
            on_message: called with each document that was read.
            on_interval: called after each look that finds a task still running.
            max_iterations: the most looks; None: no limit.
            READY_STATES: the states of tasks that have ended.

        Raises:
            TimeoutError: the time is over.
        """
        missing, pause, waited, looks = set(task_ids), 0.5 if interval is None else interval, 0.0, 0
        for task_id in [each for each in missing if each in self._cache]:
            if self._cache[task_id]["status"] in READY_STATES:
                missing.discard(task_id)
                yield bytes_to_str(task_id), self._cache[task_id]
        while missing:
            ids = list(missing)
            values = self.mget([self.get_key_for_task(each) for each in ids])
            found = self._mget_to_results(values, ids, READY_STATES)
            self._cache.update(found)
            missing.difference_update(found)
            for task_id, meta in found.items():
                if on_message is not None:
                    on_message(meta)
                yield task_id, meta
            if not missing:
                return
            if timeout is not None and waited >= timeout:
                raise CeleryTimeoutError(f"Operation timed out ({timeout})")
            if on_interval:
                on_interval()
            nap = pause if timeout is None else min(pause, timeout - waited)
            time.sleep(nap)
            waited, looks = waited + nap, looks + 1
            if max_iterations and looks >= max_iterations:
                return

    def _get_task_meta_for(self, task_id: Any) -> Any:
        stored = self.get(self.get_key_for_task(task_id))
        return self.decode_result(stored) if stored else {"status": states.PENDING, "result": None}

    def task_result_exists(self, task_id: Any) -> bool:
        """Whether there is a record of a task, of whatever state."""
        return bool(self.get(self.get_key_for_task(task_id)))

    # -- writing

    def _store_result(
        self, task_id: Any, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = bytes_to_str(task_id)
        # A success stays: a second delivery of the message may end in another way.
        if self._get_task_meta_for(task_id)["status"] == states.SUCCESS:
            return result
        try:
            self._set_with_state(self.get_key_for_task(task_id), self.encode(meta), state)
        except BackendStoreError as error:
            raise BackendStoreError(str(error), state=state, task_id=task_id) from error
        return result

    def _forget(self, task_id: Any) -> None:
        self.delete(self.get_key_for_task(task_id))

    def _save_group(self, group_id: Any, result: Any) -> Any:
        written = self.encode({"result": result.as_tuple()})
        self._set_with_state(self.get_key_for_group(group_id), written, states.SUCCESS)
        return result

    def _delete_group(self, group_id: Any) -> None:
        self.delete(self.get_key_for_group(group_id))

    def _restore_group(self, group_id: Any) -> Any:
        from taskq_cloud.celery.result import result_from_tuple  # results ask backends

        stored = self.get(self.get_key_for_group(group_id))
        if not stored:
            return None
        meta = self.decode(stored)
        meta["result"] = result_from_tuple(meta["result"], self.app)
        return meta


class KeyValueStoreBackend(BaseKeyValueStoreBackend, SyncBackendMixin):
    """A backend over a store of keys and values that has to be asked for results."""
