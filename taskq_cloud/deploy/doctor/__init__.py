"""``taskq doctor``: observes what is deployed, and compares it with what the application declares."""
