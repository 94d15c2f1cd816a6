"""The rules, with no I/O and no SDK."""
