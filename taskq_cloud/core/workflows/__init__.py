"""Workflows: Celery's canvas as stages, the messages of stages, and the rules of chords, groups and errbacks."""
