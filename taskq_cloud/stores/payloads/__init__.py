"""Where payloads are kept that are too large for a broker or a result store."""
