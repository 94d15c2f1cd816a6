"""Stores of schedules: one adapter a file, and the registry that finds them by URL."""
