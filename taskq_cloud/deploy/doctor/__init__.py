"""``taskq doctor``: observes what is deployed, and compares it with the declaration of the application."""
