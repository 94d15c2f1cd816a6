"""Result backends, as Celery's programs see them: ``app.backend``. All but ``base`` are a native result store."""
