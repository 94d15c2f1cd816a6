"""Workflows: Celery's canvas as stages, the messages they lead to, and what chords, groups and errbacks need."""
