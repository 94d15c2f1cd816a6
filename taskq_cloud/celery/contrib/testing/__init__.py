"""Applications, workers and messages for tests."""
