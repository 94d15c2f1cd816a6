"""Turns calls into SDK calls: one SDK a file, imported when its first call is made."""
