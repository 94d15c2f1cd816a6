"""Stores for payloads that are too large for a broker or a result store."""
