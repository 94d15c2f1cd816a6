"""Results for the callers of tasks: of one task, of several, and of a whole workflow; and waiting for them."""
