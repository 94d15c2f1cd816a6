"""Schedules of periodic tasks, the entries that have them, and their translation for platforms. No I/O."""
