"""Message brokers: one adapter per module, and the registry that finds them by URL."""
