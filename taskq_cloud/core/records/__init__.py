"""A task's record in a result store: its states, and the document in it, which is Celery's."""
