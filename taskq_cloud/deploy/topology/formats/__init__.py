"""A topology for others to read: one module a format, each with a ``write(topology)`` that returns text."""
