"""Arguments and results that are too large for the broker or the result store, and are kept in a bucket instead."""
