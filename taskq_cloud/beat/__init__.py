"""Periodic tasks: their declarations, their schedules in a platform's scheduler, and a ticker for one machine.

``core.schedules`` computes when a periodic task is due.
"""
