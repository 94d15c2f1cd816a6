"""Writes a topology as text: one module for each format, with a function ``write(topology)``."""
