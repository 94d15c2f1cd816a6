"""Contract suites: one a port, run on every adapter."""
