"""``taskq doctor``: observes a deployment, and compares it with the declaration of the application."""
