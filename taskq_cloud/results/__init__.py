"""Results as their callers see them: of one task, of several, of a whole workflow, and waiting for them."""
