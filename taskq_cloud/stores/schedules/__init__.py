"""Stores for schedules: one adapter for each platform, and the registry that finds an adapter by its URL."""
