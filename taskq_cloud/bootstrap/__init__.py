"""The start of a process: how the named application is found, and how log records are formatted."""
