"""What a result store keeps of a task: the record with its states, and the document in it, which is Celery's."""
