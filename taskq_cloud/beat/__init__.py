"""Periodic tasks at work: given to a platform's scheduler, or sent by a ticker of this package's on one machine.

What is periodic is declared with the application (``periodic``), when it is due decides ``core.schedules``.
"""
