"""``PersistentScheduler``: a scheduler that keeps the times of the last runs in a file of ``shelve``."""

from __future__ import annotations

import dbm
import os
import shelve
from contextlib import suppress
from importlib.metadata import version
from pickle import UnpicklingError
from typing import Any, Final

from taskq_cloud.celery.beat.scheduler import Scheduler, logged_errors, logger

_UNREADABLE: Final = (KeyError, UnicodeDecodeError, TypeError, UnpicklingError)
"""Errors of a file that holds no entries, or entries of another version of Python."""

_UNLOADABLE: Final = (ValueError, ImportError, AttributeError)
"""Errors of entries that can't be made again: a crontab that is invalid now, or a class that has moved."""

_MARKS: Final = ("__version__", "tz", "utc_enabled")
"""The keys that each file has; a file without one of them was written by a version that is too old."""


class PersistentScheduler(Scheduler):
    """Sends periodic tasks when they are due, and remembers in a file when they ran last.

    Args:
        args: see ``Scheduler``.
        kwargs: see ``Scheduler``, and ``schedule_filename``: the path of the file.
    """

    persistence: Any = shelve
    known_suffixes = ("", ".db", ".dat", ".bak", ".dir")

    _store: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.schedule_filename: Any = kwargs.get("schedule_filename")
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Open the file, and fill the schedule with the application's entries.

        A corrupt file is replaced. If the application's time zone has changed, all entries start anew.
        """
        try:
            self._store = self._open_schedule()
            # Some databases open a corrupt file, and fail only once its keys are read.
            self._store.keys()
        except Exception as error:
            self._store = self._destroy_open_corrupted_schedule(error)
        self._create_schedule()
        self._reset_if_zone_changed()
        entries = self._store.setdefault("entries", {})
        self.merge_inplace(self.app.conf.beat_schedule)
        self.install_default_entries(self.schedule)
        self._store.update(
            {
                "__version__": version("taskq-cloud"),
                "tz": self.app.conf.timezone,
                "utc_enabled": self.app.conf.enable_utc,
            }
        )
        self.sync()
        logger.debug("Current schedule:\n%s", "\n".join(map(repr, entries.values())))

    def _open_schedule(self) -> Any:
        return self.persistence.open(self.schedule_filename, writeback=True)

    def _remove_db(self) -> None:
        for suffix in self.known_suffixes:
            with suppress(FileNotFoundError):
                os.remove(f"{self.schedule_filename}{suffix}")  # noqa: PTH107 - a name, as Celery's is

    def _destroy_open_corrupted_schedule(self, exc: BaseException) -> Any:
        logger.error("Removing corrupted schedule file %r: %r", self.schedule_filename, exc, exc_info=exc)
        self._remove_db()
        return self._open_schedule()

    def _create_schedule(self) -> None:
        """Begin a new schedule if the file has none that can be read."""
        try:
            self._store["entries"]
        except (*_UNREADABLE, *_UNLOADABLE) as error:
            if isinstance(error, _UNLOADABLE):
                logger.warning(
                    "DB Reset: Cannot load the stored entries, recreating them from beat_schedule: %r", error
                )
            self._begin_anew()
            return
        for mark in _MARKS:
            if mark not in self._store:
                logger.warning("DB Reset: Account for new %s field", mark)
                self._store.clear()
                return

    def _begin_anew(self) -> None:
        try:
            self._store["entries"] = {}
        except (*_UNREADABLE, *dbm.error) as error:
            self._store = self._destroy_open_corrupted_schedule(error)
            with suppress(*_UNREADABLE):
                self._store["entries"] = {}

    def _reset_if_zone_changed(self) -> None:
        conf, store = self.app.conf, self._store
        stored_zone = store.get("tz")
        if stored_zone is not None and stored_zone != conf.timezone:
            logger.warning("Reset: Timezone changed from %r to %r", stored_zone, conf.timezone)
            store.clear()
        stored_utc = store.get("utc_enabled")
        if stored_utc is not None and stored_utc != conf.enable_utc:
            words = {True: "enabled", False: "disabled"}
            logger.warning("Reset: UTC changed from %s to %s", words[stored_utc], words[conf.enable_utc])
            store.clear()

    def get_schedule(self) -> Any:
        """The entries by name."""
        return self._store["entries"]

    def set_schedule(self, schedule: Any) -> None:
        """Replace all entries."""
        self._store["entries"] = schedule

    schedule = property(get_schedule, set_schedule)

    def sync(self) -> None:
        """Write the schedule to the file."""
        if self._store is not None:
            self._store.sync()

    def close(self) -> None:
        """Write the schedule to the file, and close the file and the connection to the broker."""
        try:
            super().close()
        except BaseException:
            with logged_errors("beat: Store cleanup failed after scheduler error"):
                self._close_store()
            raise
        self._close_store()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()

    @property
    def info(self) -> str:
        """The path of the file, for the program's start."""
        return f"    . db -> {self.schedule_filename}"
