"""Clients that turn calls into calls of SDKs: one SDK per module, imported when its first call is made."""
